// The legend of the maps: one chip a class, which hides it or shows it alone.
featx.SHAPES = {
  circle: "M5 0A5 5 0 1 1-5 0A5 5 0 1 1 5 0Z",
  square: "M-4.5-4.5H4.5V4.5H-4.5Z",
  triangle: "M0-5.5L5.2 4H-5.2Z",
  diamond: "M0-6L4.5 0L0 6L-4.5 0Z",
  inverted_triangle: "M0 5.5L5.2-4H-5.2Z",
  hex: "M5.5 0L2.75 4.8H-2.75L-5.5 0L-2.75-4.8H2.75Z",
  star: "M0-6L1.8-2H6L2.8 1L4 5.5L0 3L-4 5.5L-2.8 1L-6-2H-1.8Z",
  plus: "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  square_pin: "M-5-5Q0-2 5-5Q2 0 5 5Q0 2-5 5Q-2 0-5-5Z",
  triangle_pin: "M0-6Q1 1 5.5 4.5Q0 2.5-5.5 4.5Q-1 1 0-6Z",
};

featx.element = (tag, properties = {}, children = []) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

featx.icon = (category) => {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "-7 -7 14 14");
  path.setAttribute("d", featx.SHAPES[category.shape] ?? featx.SHAPES.circle);
  path.setAttribute("fill", category.color);
  svg.append(path);
  return svg;
};

featx.Legend = class {
  constructor(section, payload, onChange) {
    this.chips = section.querySelector("[data-chips]");
    this.search = section.querySelector("[data-find]");
    this.select = section.querySelector("[data-mode]");
    this.modes = payload.modes;
    this.onChange = onChange;
    this.select.append(...this.modes.map((m, i) => featx.element("option", {value: i, textContent: m.name})));
    this.select.closest("label").hidden = this.modes.length < 2;
    this.select.addEventListener("change", () => this.show(Number(this.select.value)));
    this.search.addEventListener("input", () => this.narrow());
    section.querySelector("[data-act=all]").addEventListener("click", () => this.showAll());
    this.select.value = payload.start;
    this.show(payload.start);
  }

  show(index) {
    this.mode = this.modes[index];
    this.hidden = new Set();
    const counts = new Array(this.mode.categories.length).fill(0);
    for (const code of this.mode.codes) counts[code] += 1;
    this.chips.replaceChildren(...this.mode.categories.map((c, i) => this.chip(c, i, counts[i])));
    this.search.hidden = this.mode.categories.length <= 24;
    this.search.value = "";
    this.changed();
  }

  chip(category, index, n) {
    const chip = featx.element("button", {type: "button", className: "chip", title: category.name}, [
      featx.icon(category),
      featx.element("span", {className: "text", textContent: category.name}),
      featx.element("span", {className: "n", textContent: n.toLocaleString("en")}),
    ]);
    chip.addEventListener("click", () => this.toggle(index));
    chip.addEventListener("dblclick", () => this.isolate(index));
    return chip;
  }

  toggle(index) {
    if (!this.hidden.delete(index)) this.hidden.add(index);
    this.changed();
  }

  isolate(index) {
    this.hidden = new Set(this.mode.categories.keys());
    this.hidden.delete(index);
    this.changed();
  }

  showAll() {
    this.hidden.clear();
    this.changed();
  }

  narrow() {
    const wanted = this.search.value.toLowerCase();
    [...this.chips.children].forEach((chip) => (chip.hidden = !chip.title.toLowerCase().includes(wanted)));
  }

  changed() {
    [...this.chips.children].forEach((chip, i) => chip.setAttribute("aria-pressed", String(!this.hidden.has(i))));
    this.onChange(this);
  }

  get isVisible() {
    return this.mode.codes.map((code) => !this.hidden.has(code));
  }
};
