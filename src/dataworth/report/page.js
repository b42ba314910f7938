// The table of targets works without this; it adds a slider over finer steps.
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
