// The files of a TLS listener, and of a pool whose backends speak TLS: read, and tried out as a worker will use them,
// so that whatever is wrong with them is said here, by the main thread, and nowhere else.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { BackendTlsSettings } from '../backend-tls.ts';
import type { PoolTlsConfig } from '../config/backend-tls.ts';
import type { Path } from '../config/document.ts';
import type { CertificateConfig, TlsConfig } from '../config/tls.ts';
import type { CertificateMaterial } from './door-settings.ts';

/** Everything that the files hold, or what is wrong with them. */
export interface TlsFiles {
  certificates: LoadedCertificate[];
  clientCa: string | null;
  clientCrls: string[];
  faults: TlsFault[];
}

export interface LoadedCertificate extends CertificateMaterial {
  /** Of its file. */
  path: string;
  notAfterMs: number;
}

export interface TlsFault {
  /** Of the key, within `tls`. */
  at: Path;
  /** "expected …, found …" */
  text: string;
}

const CERTIFICATE = 'CERTIFICATE';
const CRL = 'X509 CRL';

export function readTls(tls: TlsConfig): TlsFiles {
  const faults: TlsFault[] = [];
  const read = reader(faults);
  const certificates = tls.certificates.flatMap((config) => {
    const cert = read([...config.at, 'cert'], () => readCertificates(config.cert));
    const key = read([...config.at, 'key'], () => readKey(config.key));
    const { ocsp: ocspPath } = config;
    const ocsp = ocspPath === null ? null : read([...config.at, 'ocsp'], () => readOcsp(ocspPath));
    if (cert === undefined || key === undefined || ocsp === undefined) return [];
    return read([...config.at, 'key'], () => ({ ...joined(config, cert, key), ocsp })) ?? [];
  });
  const { clientCa: ca, clientCrl: crl } = tls;
  const clientCa = ca === null ? undefined : read(['client_ca'], () => readCertificates(ca));
  const clientCrls = crl === null ? undefined : read(['client_crl'], () => readCrls(crl));
  if (faults.length === 0) read(['ciphers'], () => tryCiphers(tls));
  return { certificates, clientCa: clientCa ?? null, clientCrls: clientCrls ?? [], faults };
}

/** Of a pool: what its backends are trusted by, and what they see as ours. */
export function readPoolTls(tls: PoolTlsConfig): { settings: BackendTlsSettings; faults: TlsFault[] } {
  const faults: TlsFault[] = [];
  const read = reader(faults);
  const { ca: caPath, cert: certPath, key: keyPath, isVerified, minVersion } = tls;
  const ca = caPath === null ? null : read(['ca'], () => readCertificates(caPath));
  const cert = certPath === null ? null : read(['cert'], () => readCertificates(certPath));
  const key = keyPath === null ? null : read(['key'], () => readKey(keyPath));
  if (cert && key)
    read(['key'], () => joined({ cert: certPath!, key: keyPath!, ocsp: null, names: null, at: [] }, cert, key));
  const settings = {
    ca: ca ?? null,
    cert: cert ?? null,
    key: key ?? null,
    isVerified,
    minVersion: `TLSv${minVersion}`,
  } as const;
  return { settings, faults };
}

/** Does the work, or notes what is wrong with a file. */
function reader(faults: TlsFault[]): <Result>(at: Path, work: () => Result) => Result | undefined {
  return (at, work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof FileFault)) throw error;
      faults.push({ at, text: error.message });
      return undefined;
    }
  };
}

class FileFault extends Error {}

/** A SEQUENCE whose first element says that the request was successful (RFC 6960, section 4.2.1). */
function readOcsp(path: string): Uint8Array {
  const what = 'a DER file with an OCSP response';
  const bytes = readBytes(path, what);
  const SUCCESSFUL = Buffer.of(0x0a, 1, 0);
  if (bytes[0] !== 0x30 || bytes.subarray(0, 16).indexOf(SUCCESSFUL) < 0) throw fault(what, path, 'which holds none');
  return bytes;
}

function readKey(path: string): string {
  return readPem(path, 'PRIVATE KEY', 'a PEM file with a private key');
}

function readPem(path: string, label: string, what: string): string {
  const text = readText(path, what);
  if (text.includes('ENCRYPTED')) throw fault(what, path, 'which is encrypted: store the key without a passphrase');
  if (!text.includes(`${label}-----`)) throw fault(what, path, 'which holds none');
  return text;
}

function readText(path: string, what: string): string {
  return readBytes(path, what).toString();
}

function readBytes(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw fault(what, path, UNREADABLE[code] ?? `which can't be read (${code})`);
  }
}

const UNREADABLE: Record<string, string> = {
  ENOENT: 'and there is no such file',
  ENOTDIR: 'and there is no such file',
  EACCES: 'which this user may not read',
  EISDIR: 'which is a folder',
};

function readCertificates(path: string): string {
  const what = 'a PEM file with a certificate';
  const text = readPem(path, CERTIFICATE, what);
  for (const block of blocks(text, CERTIFICATE)) parse(block, what, path);
  return text;
}

function parse(block: string, what: string, path: string): X509Certificate {
  try {
    return new X509Certificate(block);
  } catch {
    throw fault(what, path, 'which holds one that is damaged');
  }
}

/** One text each: of a text with several only the first would be taken. */
function readCrls(path: string): string[] {
  const what = 'a PEM file with revocation lists';
  const crls = blocks(readPem(path, CRL, what), CRL);
  for (const crl of crls) {
    try {
      createSecureContext({ crl });
    } catch {
      throw fault(what, path, 'which holds one that is damaged');
    }
  }
  return crls;
}

function blocks(text: string, label: string): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, 'g')) ?? [];
}

function joined(
  { cert: path, key: keyPath, names }: CertificateConfig,
  cert: string,
  key: string,
): Omit<LoadedCertificate, 'ocsp'> {
  const what = 'a PEM file with a certificate';
  const first = parse(blocks(cert, CERTIFICATE)[0] ?? '', what, path);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const isStranger = code.includes('KEY_VALUES_MISMATCH') || code.includes('KEY_TYPE_MISMATCH');
    const why = isStranger ? `which doesn't belong to the certificate in ${path}` : `which can't be used (${code})`;
    throw fault("a PEM file with the certificate's key", keyPath, why);
  }
  return { cert, key, path, names: names?.map(lowerCase) ?? namesOf(first), notAfterMs: Date.parse(first.validTo) };
}

/** The hosts that a certificate names; its common name counts only where there is nothing else, as it was long ago. */
function namesOf(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName?.match(/(?<=DNS:)[^,"]+/g);
  const [, cn] = /^CN=(.*)$/m.exec(certificate.subject) ?? [];
  return (names ?? (cn === undefined ? [] : [cn])).map(lowerCase);
}

function lowerCase(name: string): string {
  return name.toLowerCase();
}

function tryCiphers({ ciphers }: TlsConfig): void {
  try {
    createSecureContext({ ciphers });
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new FileFault(`expected cipher suites that OpenSSL knows, found ${JSON.stringify(ciphers)} (${code})`);
  }
}

function fault(what: string, path: string, why: string): FileFault {
  return new FileFault(`expected ${what}, found ${JSON.stringify(path)}, ${why}`);
}
