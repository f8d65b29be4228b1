// Shows the server's own OpenAPI document; nothing comes from elsewhere.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
