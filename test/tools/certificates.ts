// Certificates made by openssl in a folder of the test's own: a CA, what it signs, and what it takes back.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requireProgram } from './requirements.ts';

export interface Authority {
  /** Path of its certificate. */
  ca: string;
  folder: string;
  issue(name: string, options?: Issue): Issued;
  /** Writes what it says of the certificate, by OCSP, beside that; returns the path. */
  attest(issued: Issued): string;
  /** Writes its revocation list anew; returns the path. */
  revoke(...revoked: Issued[]): string;
}

export interface Issued {
  cert: string;
  key: string;
}

export interface Issue {
  /** Empty: none. */
  hosts?: readonly string[];
  /** Further subject alternative names, as openssl writes them: "IP:127.0.0.1". */
  names?: readonly string[];
  /** Instead of the name alone, as openssl writes it: "/O=Acme/CN=meter". */
  subject?: string;
  /** Its time is over. */
  isExpired?: boolean;
  /** Of its files, where that isn't the name. */
  file?: string;
}

/** undefined when the test was skipped and has to return. */
export function startAuthority(context: TestContext): Authority | undefined {
  const program = requireProgram(context, 'openssl');
  if (program === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-certificates-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync(program, args, { cwd: folder, stdio: 'pipe' });
  writeFileSync(at('ca.cnf'), CA_CONFIG);
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('crlnumber'), '01\n');
  openssl('req', '-x509', ...NEW_KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', '/CN=Test CA');
  let serial = 1;
  const issue = (
    name: string,
    { hosts = [], names = [], isExpired = false, file = name, subject = `/CN=${name}` }: Issue = {},
  ): Issued => {
    openssl('req', ...NEW_KEY, '-utf8', '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', subject);
    const all = [...hosts.map((host) => `DNS:${host}`), ...names];
    writeFileSync(at(`${file}.ext`), all.length === 0 ? '' : `subjectAltName=${all.join(',')}\n`);
    writeFileSync(at('serial'), `${(serial++).toString(16).padStart(4, '0')}\n`);
    const time = isExpired ? ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'] : ['-days', '30'];
    const files = ['-in', `${file}.csr`, '-out', `${file}.new`, '-extfile', `${file}.ext`];
    openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...time, ...files);
    renameSync(at(`${file}.new`), at(`${file}.pem`));
    return { cert: at(`${file}.pem`), key: at(`${file}.key`) };
  };
  const revoke = (...revoked: Issued[]): string => {
    for (const { cert } of revoked) openssl('ca', '-config', 'ca.cnf', '-revoke', cert);
    openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', 'crl.new');
    renameSync(at('crl.new'), at('crl.pem'));
    return at('crl.pem');
  };
  const attest = ({ cert }: Issued): string => {
    const files = ['-reqout', `${cert}.request`, '-issuer', 'ca.pem', '-cert', cert];
    openssl('ocsp', ...files);
    const signer = ['-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey', 'ca.key', '-index', 'index.txt', '-ndays', '7'];
    openssl('ocsp', ...signer, '-reqin', `${cert}.request`, '-respout', `${cert}.ocsp`);
    return `${cert}.ocsp`;
  };
  return { ca: at('ca.pem'), folder, issue, attest, revoke };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

const CA_CONFIG = `
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
serial = serial
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
organizationName = optional
organizationalUnitName = optional
commonName = supplied
`;

/** Puts the files of one certificate where another's are, as tools do that renew them. */
export function replace(target: Issued, { cert, key }: Issued): void {
  for (const [from, to] of [
    [cert, target.cert],
    [key, target.key],
  ] as const) {
    writeFileSync(`${to}.next`, readFileSync(from));
    renameSync(`${to}.next`, to);
  }
}
