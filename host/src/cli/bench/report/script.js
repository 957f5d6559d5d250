"use strict";
const tip = document.getElementById("tip");
document.addEventListener("pointermove", (event) => {
  const text = event.target.dataset?.tip;
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const width = tip.offsetWidth + 14;
  const right = event.clientX + 14 + width < window.innerWidth;
  tip.style.left = `${right ? event.clientX + 14 : event.clientX - width}px`;
  tip.style.top = `${event.clientY + 14}px`;
});
for (const time of document.querySelectorAll("time[data-seconds]")) {
  time.textContent = new Date(time.dataset.seconds * 1000).toLocaleString();
}
document.getElementById("save").addEventListener("click", () => {
  const json = document.getElementById("results").textContent;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  link.download = "lacewing-bench.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
