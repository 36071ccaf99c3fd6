// Starts everything once Bokeh has drawn its plots.
featx.enableChoices = (section) => {
  const select = section.querySelector("[data-choose]");
  const choices = section.querySelectorAll(".choice");
  select?.addEventListener("change", () => {
    choices.forEach((choice, i) => (choice.hidden = i !== Number(select.value)));
  });
};

featx.start = () => {
  const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);
  featx.followTheme();
  featx.maps = [...document.querySelectorAll("[data-maps]")].map((s) => new featx.Maps(s, thumbnails));
  document.documentElement.dataset.ready = "yes";
};

featx.whenDrawn = (then) => {
  const wanted = document.querySelectorAll("[data-plot]").length;
  const wait = () => {
    const isDrawn = featx.roots().length >= wanted && featx.documents().every((d) => d.is_idle);
    if (isDrawn) then();
    else setTimeout(wait, 30);
  };
  wait();
};

document.querySelectorAll("table.sortable").forEach(featx.enableTable);
document.querySelectorAll(".choices").forEach(featx.enableChoices);
featx.whenDrawn(featx.start);
window.featx = featx;
