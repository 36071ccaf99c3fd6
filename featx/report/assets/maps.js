// Linked maps: hover, brush, walk from layer to layer, save what is brushed.
featx.N_FILM = 80;

featx.Maps = class {
  constructor(section, thumbnails) {
    const key = section.dataset.maps;
    this.section = section;
    this.payload = JSON.parse(section.querySelector("[data-payload]").textContent);
    this.thumbnail = (i) => thumbnails[this.payload.thumbnails[i]];
    this.walk = featx.find(`walk-${key}`);
    // Of a single layer the walk is the only map.
    this.maps = featx.find(`maps-${key}`) ?? this.walk;
    this.sources = new Set([this.maps, this.walk]);
    this.ring = featx.find(`ring-${key}`);
    this.view = featx.find(`view-${key}`);
    this.plots = ["walk", ...this.payload.layers.keys()].map((i) => featx.find(`figure-${key}-${i}`)).filter(Boolean);
    this.position = 0;
    this.legend = new featx.Legend(section, this.payload, (legend) => this.follow(legend));
    this.linkSelections();
    this.linkHover();
    this.enableTools();
    this.enableWalk();
    this.enableTray();
  }

  get(action) {
    return this.section.querySelector(`[data-act=${action}]`);
  }

  follow({mode, isVisible}) {
    if (mode !== this.mode) this.recolor(mode);
    this.view.filter.booleans = isVisible;
  }

  recolor(mode) {
    this.mode = mode;
    const color = mode.codes.map((code) => mode.categories[code].color);
    const shape = mode.codes.map((code) => mode.categories[code].shape);
    for (const source of this.sources) source.data = {...source.data, color, shape};
  }

  // Two sources, one selection: the walk moves its points without redrawing the other maps.
  linkSelections() {
    const link = (from, to) =>
      from.selected.properties.indices.change.connect(() => {
        const indices = [...from.selected.indices];
        if (String(indices) !== String(to.selected.indices)) to.selected.indices = indices;
        this.showTray();
      });
    link(this.maps, this.walk);
    link(this.walk, this.maps);
  }

  linkHover() {
    for (const source of this.sources) {
      source.inspect.connect(([renderer, {geometry}]) => this.hover(source, renderer, geometry));
    }
    for (const square of this.section.querySelectorAll(".plot.square")) {
      square.addEventListener("mouseleave", () => this.leave());
    }
    this.section.addEventListener("mousemove", (e) => (this.mouse = [e.clientX, e.clientY]));
  }

  hover(source, renderer, geometry) {
    const inspected = source.inspected.indices;
    if (!inspected.length) return this.leave();
    const x = source.data[renderer.glyph.x.field], y = source.data[renderer.glyph.y.field];
    const far = (i) => (x[i] - geometry.x) ** 2 + (y[i] - geometry.y) ** 2;
    const nearest = inspected.reduce((best, i) => (far(i) < far(best) ? i : best));
    if (nearest !== this.hovered) {
      this.hovered = nearest;
      this.moveRing();
      featx.fillCard(this.cardOf(nearest, inspected.length - 1));
    }
    featx.placeCard(this.mouse);
  }

  leave() {
    if (this.hovered === undefined) return;
    this.hovered = undefined;
    this.moveRing();
    featx.hideCard();
  }

  moveRing() {
    const i = this.hovered;
    const at = (values) => (i === undefined ? [] : [values[i]]);
    const valuesOf = (name) => (name in this.walk.data ? this.walk : this.maps).data[name];
    this.ring.data = Object.fromEntries(Object.keys(this.ring.data).map((name) => [name, at(valuesOf(name))]));
  }

  cardOf(i, nMore) {
    const mode = this.payload.modes[0];
    const lines = [[mode.name, mode.categories[mode.codes[i]].name]];
    for (const [name, values] of Object.entries(this.payload.facts)) if (values[i]) lines.push([name, values[i]]);
    return {image: this.thumbnail(i), lines, name: this.payload.names[i], nMore};
  }

  enableTools() {
    const types = {box: ["BoxSelectTool"], lasso: ["LassoSelectTool"], pan: ["PanTool", "WheelZoomTool"]};
    const buttons = this.section.querySelectorAll("[data-tool]");
    const choose = (wanted) => {
      for (const plot of this.plots) {
        for (const tool of plot.toolbar.tools) {
          if (Object.values(types).flat().includes(tool.type)) tool.active = types[wanted].includes(tool.type);
        }
      }
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.tool === wanted));
    };
    for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.tool));
    this.get("home").addEventListener("click", () => {
      for (const plot of this.plots) for (const range of [plot.x_range, plot.y_range]) range.reset();
    });
  }

  enableWalk() {
    this.slider = this.section.querySelector("[data-walk]");
    if (!this.slider) return;
    this.stops = [...this.section.querySelectorAll("[data-stop]")];
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    for (const stop of this.stops) stop.addEventListener("click", () => this.travel(Number(stop.dataset.stop)));
    this.get("play").addEventListener("click", () => {
      this.goTo(0);
      this.travel(this.stops.length - 1);
    });
    this.goTo(0);
  }

  goTo(position) {
    const last = this.stops.length - 1;
    const from = Math.min(Math.floor(position), last), to = Math.min(from + 1, last);
    const share = position - from, data = this.maps.data;
    const between = (axis) => {
      const a = data[axis + from], b = data[axis + to];
      return Float32Array.from(a, (value, i) => value + share * (b[i] - value));
    };
    this.position = position;
    this.slider.value = position;
    this.walk.data = {...this.walk.data, x: between("x"), y: between("y")};
    this.stops.forEach((stop, i) => stop.classList.toggle("here", Math.round(position) === i));
    if (this.hovered !== undefined) this.moveRing();
  }

  travel(target) {
    const start = performance.now(), from = this.position, seconds = 0.9 * Math.abs(target - from);
    const token = (this.token = {});
    const step = (now) => {
      if (token !== this.token) return;
      const share = seconds ? Math.min((now - start) / 1000 / seconds, 1) : 1;
      this.goTo(from + share * (target - from));
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  enableTray() {
    this.tray = this.section.querySelector("[data-tray]");
    this.get("clear").addEventListener("click", () => (this.maps.selected.indices = []));
    this.get("save").addEventListener("click", () => this.save());
  }

  get selected() {
    return this.maps.selected.indices;
  }

  showTray() {
    const indices = this.selected;
    this.tray.hidden = !indices.length;
    this.tray.querySelector("[data-count]").textContent = `${indices.length.toLocaleString("en")} selected`;
    this.tray.querySelector("[data-mix]").textContent = this.mixOf(indices);
    // Spread over the selection: images of one class lie beside each other in it.
    const stride = Math.max(1, indices.length / featx.N_FILM);
    const shown = Array.from({length: Math.min(indices.length, featx.N_FILM)}, (_, k) => indices[Math.floor(k * stride)]);
    const film = shown.filter((i) => this.thumbnail(i)).map((i) =>
      featx.element("img", {src: this.thumbnail(i), alt: this.payload.names[i], title: this.payload.names[i]}));
    if (indices.length > shown.length) film.push(featx.element("span", {textContent: `and ${(indices.length - shown.length).toLocaleString("en")} more`}));
    this.tray.querySelector("[data-film]").replaceChildren(...film);
  }

  mixOf(indices) {
    const {codes, categories} = this.payload.modes[0];
    const counts = new Map();
    for (const i of indices) counts.set(codes[i], (counts.get(codes[i]) ?? 0) + 1);
    const ranked = [...counts].sort((a, b) => b[1] - a[1]);
    const parts = ranked.slice(0, 6).map(([code, n]) => `${n} ${categories[code].name}`);
    if (ranked.length > 6) parts.push(`${ranked.length - 6} more`);
    return parts.join(" · ");
  }

  save() {
    const text = this.selected.map((i) => this.payload.names[i] + "\n").join("");
    const link = featx.element("a", {download: "selection.txt"});
    link.href = URL.createObjectURL(new Blob([text], {type: "text/plain;charset=utf-8"}));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
};

featx.fillCard = ({image, lines, name, nMore}) => {
  const card = document.getElementById("card");
  const shown = card.querySelector("img");
  shown.hidden = !image;
  if (image) shown.src = image;
  const line = ([label, text]) =>
    featx.element("div", {}, [`${label} `, featx.element("b", {textContent: text})]);
  const rows = lines.map(line);
  rows.push(featx.element("div", {className: "name", textContent: name}));
  if (nMore) rows.push(featx.element("div", {className: "name", textContent: `and ${nMore} more under the mouse`}));
  card.querySelector(".card-text").replaceChildren(...rows);
  card.hidden = false;
};

featx.placeCard = ([x, y] = [0, 0]) => {
  const card = document.getElementById("card");
  const {width, height} = card.getBoundingClientRect();
  const left = x + 18 + width > innerWidth ? x - 18 - width : x + 18;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.max(4, Math.min(y - height / 2, innerHeight - height - 4))}px`;
};

featx.hideCard = () => (document.getElementById("card").hidden = true);
