// Without this, figures show no values and the tables of targets have no slider of finer steps.
for (const box of document.querySelectorAll("[data-answers]")) {
  const answers = JSON.parse(box.dataset.answers);
  const [target, slider, answer] = box.querySelectorAll("input, output, p");
  const show = () => {
    [target.textContent, answer.textContent] = answers[slider.value];
    slider.setAttribute("aria-valuetext", answers[slider.value].join(": "));
  };
  slider.max = answers.length - 1;
  slider.value = slider.dataset.start;
  slider.addEventListener("input", show);
  show();
  box.hidden = false;
}

// Figures: the value nearest to the pointer, or the next one by the arrow keys.
for (const plot of document.querySelectorAll("[data-marks]")) {
  const marks = JSON.parse(plot.dataset.marks); // [x, y, text] in units of the drawing
  const svg = plot.querySelector("svg");
  const { width, height } = svg.viewBox.baseVal;
  const ring = svg.appendChild(document.createElementNS(svg.namespaceURI, "circle"));
  const tip = plot.appendChild(document.createElement("output"));
  let shown = -1;
  const hide = () => plot.classList.remove("told");
  const show = (i) => {
    const [x, y, text] = marks[(shown = i)];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    tip.textContent = text;
    tip.style.cssText = `${x < width / 2 ? "left" : "right"}: calc(${50 - Math.abs(50 - (100 * x) / width)}% + 1rem);`;
    tip.style.cssText += `${y < height / 2 ? "top" : "bottom"}: ${50 - Math.abs(50 - (100 * y) / height)}%;`;
    plot.classList.add("told");
  };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * width) / box.width;
    const y = ((event.clientY - box.top) * height) / box.height;
    const distances = marks.map((mark) => Math.hypot(mark[0] - x, mark[1] - y));
    show(distances.indexOf(Math.min(...distances)));
  };
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  const step = (event) => {
    if (event.key === "Escape") hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    show((shown + steps[event.key] + marks.length) % marks.length);
  };
  ring.setAttribute("r", 6);
  ring.setAttribute("class", "ring");
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", "Figure with values; the arrow keys step through them");
  for (const [name, act] of Object.entries({ mousemove: nearest, mouseleave: hide, keydown: step, blur: hide }))
    plot.addEventListener(name, act);
}

for (const hint of [...document.querySelectorAll(".hint")].slice(0, 1)) hint.hidden = false;

// Contents: the section in view is marked.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const headings = [...document.querySelectorAll("h2, h3")].filter((heading) => links.has(heading.id));
const mark = () => {
  const above = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3);
  for (const [id, link] of links)
    id === above.at(-1)?.id ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
};
addEventListener("scroll", mark, { passive: true });
mark();

// What is folded opens for a link to it, and on paper.
const unfold = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
unfold();
