/* The routes, as Swagger UI shows them; a key that is entered is forgotten with the page. */
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#routes",
  deepLinking: true,
  validatorUrl: null, // else it loads a badge from elsewhere
});
