/** Certificates for servers that speak TLS. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcome } from '../workspace.mjs';

/**
 * Makes an authority and a certificate of it for `localhost` (and for no address, so that a wrong name can be tried too).
 *
 * @returns {Promise<{ ca: string, certificate: string, key: string } | undefined>} the PEM files; nothing without openssl
 */
export async function certify(folder) {
  const openssl = async (line) => (await outcome('openssl', line.split(' '), { cwd: folder })).code === 0;
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256';
  writeFileSync(join(folder, 'server.ext'), 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n');
  const made =
    (await openssl(`req -x509 ${key} -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem`)) &&
    (await openssl(`req -new ${key} -subj /CN=localhost -keyout server.key -out server.csr`)) &&
    (await openssl(
      'x509 -req -sha256 -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -out server.pem',
    ));
  if (!made) return undefined;
  return { ca: join(folder, 'ca.pem'), certificate: join(folder, 'server.pem'), key: join(folder, 'server.key') };
}
