window.addEventListener("load", () => {
  SwaggerUIBundle({ url: {{ document|tojson }}, dom_id: "#docs", deepLinking: true });
});
