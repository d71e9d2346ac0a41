/**
 * Where a program reads, from the URL it is given to what the option `source` of this package is.
 *
 * Of servers that are asked over HTTP, the URL's scheme is the kind of server before the real one, and the rest holds what
 * else the source needs: `turso+http://HOST/`, `d1+http://ACCOUNT:TOKEN@HOST/DATABASE`, `starbasedb+http://TOKEN@HOST/INSTANCE`.
 */

const KINDS = {
  postgres: (url) => ({ type: 'postgresql', url: url.href }),
  mysql: (url) => ({ type: 'mysql', url: url.href }),
  mongodb: (url) => ({ type: 'mongodb', uri: url.href }),
  turso: (url) => ({ type: 'turso', uri: `${origin(url)}/` }),
  d1: (url) => ({
    type: 'd1',
    api_key: url.password,
    account_id: url.username,
    database_id: url.pathname.slice(1),
    url: `${origin(url)}/`,
  }),
  starbasedb: (url) => ({ type: 'starbasedb', uri: `${origin(url)}${url.pathname}`, token: url.username }),
};

const origin = ({ protocol, host }) => `${protocol.replace(/^\w+\+/, '')}//${host}`;

export function sourceOf(text) {
  const url = new URL(text);
  return KINDS[url.protocol.replace(/(\+\w+)?:$/, '')](url);
}
