// oidc-provider, with its own pages for sign-in and consent: node provider.mjs DIR ISSUER REDIRECT
// Whoever signs in as NAME has the address NAME@example.com and is in the groups of DIR/groups.json.
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import Provider from 'oidc-provider';

const [dir, issuer, redirect] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(dir, name));

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'warren', client_secret: 's3cret/+', redirect_uris: [redirect],
    grant_types: ['authorization_code'], response_types: ['code'],
  }],
  scopes: ['openid', 'profile', 'email', 'groups'],
  claims: {
    openid: ['sub'], profile: ['name', 'picture'], email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  cookies: { keys: ['of a test'] },
  pkce: { required: () => true },
  ttl: { IdToken: 3600 },
  findAccount: async (ctx, sub) => ({
    accountId: sub,
    claims: async () => ({
      sub, name: `${sub} of the test`, email: `${sub}@example.com`, email_verified: true,
      groups: JSON.parse(read('groups.json'))[sub] ?? [],
    }),
  }),
});
provider.on('authorization.accepted', (ctx) => {
  if (ctx.oidc.result?.login) console.log('signed in', ctx.oidc.result.login.accountId);
});
for (const event of ['grant.error', 'authorization.error', 'server_error', 'userinfo.error'])
  provider.on(event, (ctx, error) => console.log(event, error.message, error.error_detail ?? ''));

const { hostname, port } = new URL(issuer);
https.createServer({ key: read('key.pem'), cert: read('cert.pem') }, provider.callback())
  .listen(Number(port), hostname, () => console.log('listening'));
