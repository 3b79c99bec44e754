// In a file of its own: the page's policy allows no inline script.
window.addEventListener("load", () => {
  const place = document.getElementById("docs");
  SwaggerUIBundle({ url: place.dataset.document, domNode: place, deepLinking: true });
});
