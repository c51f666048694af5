// Equations: Markdown leaves \(...\) and \[...\] in elements of the class arithmatex, KaTeX draws them.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const tex = element.textContent.trim().replace(/^\\[([]/, "").replace(/\\[)\]]$/, "");
    try {
      katex.render(tex, element, { displayMode: element.tagName === "DIV" });
    } catch (error) {
      console.error(error.message); // the text stays as it is, the other equations are drawn, a test sees it
    }
  }
});
