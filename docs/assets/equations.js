// Equations: Markdown leaves \(...\) and \[...\] in elements of the class arithmatex, KaTeX draws them.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const tex = element.textContent.trim().replace(/^\\[([]/, "").replace(/\\[)\]]$/, "");
    katex.render(tex, element, { displayMode: element.tagName === "DIV", throwOnError: false });
  }
});
