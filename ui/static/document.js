// The viewer wears the colours that were chosen in the chat; nothing else here needs a script.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("hearth-theme"); } catch { /* private windows may refuse */ }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  // On a phone the list of passages would stand before nothing but itself: it begins closed there.
  addEventListener("DOMContentLoaded", () => {
    if (matchMedia("(max-width: 1000px)").matches) document.querySelector(".contents details")?.removeAttribute("open");
  });
})();
