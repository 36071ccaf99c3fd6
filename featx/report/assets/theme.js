// Pass the colors of the page to the plots: Bokeh draws on a canvas, which no style sheet reaches.
"use strict";
const featx = {};

featx.documents = () => (window.Bokeh ? window.Bokeh.documents : []);

featx.roots = () => featx.documents().flatMap((document) => document.roots());

featx.find = (name) => {
  for (const document of featx.documents()) {
    const model = document.get_model_by_name(name);
    if (model) return model;
  }
  return null;
};

featx.paint = () => {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  for (const plot of featx.roots()) {
    plot.setv({background_fill_color: null, border_fill_color: null});
    for (const axis of [...plot.below, ...plot.left, ...plot.above]) {
      axis.setv({
        axis_label_text_color: color("--soft"),
        major_label_text_color: color("--soft"),
        axis_line_color: axis.axis_line_color === null ? null : color("--line"),
      });
    }
    for (const part of plot.center) {
      if (part.type === "Grid") part.setv({grid_line_color: color("--line")});
      if (part.name === "ink-text") part.setv({text_color: color("--ink")});
    }
    for (const renderer of plot.renderers) {
      const glyph = renderer.glyph;
      if (renderer.name === "ink-text") glyph.setv({text_color: {value: color("--ink")}});
      if (renderer.name === "ink-line") glyph.setv({line_color: {value: color("--ink")}});
    }
  }
};

// On paper everything is light, whatever the screen is, and plots are scaled as images are:
// Bokeh would redraw them for the narrower page only after printing.
featx.PAPER_PX = 680;

featx.toPaper = () => {
  for (const part of document.querySelectorAll(".curves, .panels, .bench:not(:has(.walks)), .pair, section > .plot")) {
    const width = part.clientWidth;
    if (!width) continue;
    part.style.width = `${width}px`;
    part.style.zoom = Math.min(1, featx.PAPER_PX / width);
  }
  document.documentElement.classList.add("paper");
  featx.paint();
};

featx.toScreen = () => {
  for (const part of document.querySelectorAll("[style*=zoom]")) part.style.width = part.style.zoom = "";
  document.documentElement.classList.remove("paper");
  featx.paint();
};

featx.followTheme = () => {
  featx.paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", featx.paint);
  addEventListener("beforeprint", featx.toPaper);
  addEventListener("afterprint", featx.toScreen);
};
