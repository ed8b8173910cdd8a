"""How people sign in: passwords, a second factor, a company's own sign-in (OIDC), and the sessions that follow."""
