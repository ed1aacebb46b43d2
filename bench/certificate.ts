// The certificate that every proxy shows in the scenarios with TLS: of the kind that devices like, a P-256 key.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../src/find-program.ts';

export interface Certificate {
  /** Paths; `both` is one file, as HAProxy wants it. */
  cert: string;
  key: string;
  both: string;
}

let made: Certificate | undefined;

/** Made once; gone with the process. */
export function certificate(): Certificate {
  made ??= make();
  return made;
}

function make(): Certificate {
  const program = findProgram('openssl');
  if (program === undefined) throw new Error('scenarios with TLS need openssl (apt-get install openssl)');
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-tls-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const [cert, key, both] = ['cert.pem', 'key.pem', 'both.pem'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = [
    '-keyout',
    key,
    '-out',
    cert,
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
  ];
  execFileSync(program, ['req', '-x509', ...newKey, ...files], { stdio: 'ignore' });
  writeFileSync(both, readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'));
  return { cert, key, both };
}
