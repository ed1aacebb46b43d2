// House rules that are worth repeating, as tests: the boundaries between the planes, and what is easily left behind.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = ['assembly', 'src', 'test', 'bench'].flatMap((folder) => filesBelow(join(root, folder)));
const code = sources.filter((file) => file.endsWith('.ts') || file.endsWith('.js'));

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

function inFolder(folder: string): string[] {
  return code.filter((file) => file.startsWith(join(root, folder)));
}

/** `file:line` of every line that matches, but for the files excepted. */
function findLines(files: string[], pattern: RegExp, except: string[] = []): string[] {
  return files
    .filter((file) => !except.includes(relative(root, file)))
    .flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .flatMap((line, index) => (pattern.test(line) ? [`${relative(root, file)}:${index + 1}: ${line.trim()}`] : [])),
    );
}

test('the data plane knows no Node', () => {
  assert.deepEqual(findLines(inFolder('assembly'), /from ['"](node:|\.\.\/src|\.\.\/\.\.\/src)/), []);
});

test('atomics stand in one file of the data plane', () => {
  assert.deepEqual(findLines(inFolder('assembly'), /\batomic\./, ['assembly/shared.ts']), []);
});

test('modules are compiled and instantiated in one file', () => {
  const pattern = /new WebAssembly\.(Module|Instance)\b/;
  assert.deepEqual(findLines(inFolder('src'), pattern, ['src/wasm.ts']), []);
});

test('the numbers that both compilers read are constants and nothing else', () => {
  for (const file of ['assembly/layout.ts', 'assembly/uring/abi.ts', 'bench/layout.ts']) {
    const text = readFileSync(join(root, file), 'utf8').replace(/\/\*\*?[\s\S]*?\*\//g, '');
    const statements = text
      .split('\n')
      .map((line) => line.replace(/\/\/.*/, '').trim())
      .filter(Boolean);
    const odd = statements.filter((line) => !/^export const [A-Z][A-Z0-9_]* = [A-Z0-9a-fx_ +*/<&|~()-]+;$/.test(line));
    assert.deepEqual(odd, [], file);
  }
});

/** The prefix of each struct's constants in layout.ts. */
const structs = {
  HEADER: 'Header',
  COUNTERS: 'Counters',
  BACKEND_COUNTERS: 'BackendCounters',
  SNAPSHOT: 'SnapshotHalf',
  LISTENER: 'ListenerEntry',
  IDENTITY: 'Identity',
  TEXT: 'Text',
  POOL: 'Pool',
  MEMBER: 'Member',
  SOURCE: 'Source',
  DRAIN: 'Drain',
  SOURCE_COUNTERS: 'SourceCounters',
  CONNECT: 'Connect',
  COLD: 'Cold',
  RECORD: 'AccessRecord',
  LISTENER_LIMITS: 'ListenerLimits',
  POOL_LIMITS: 'PoolLimits',
  BACKEND_LIMITS: 'BackendLimits',
  ADMISSION: 'Admission',
  GATE: 'Gate',
  PLACE: 'Place',
  SESSION: 'Session',
  PAUSE: 'Pause',
  PROXY_HEADER: 'ProxyHeader',
  HOOK: 'Hook',
  ASK: 'Ask',
  DECISION: 'Decision',
};
/** What has a struct's prefix but is no field of it: where it lies, areas behind or inside it, bits, limits. */
const fieldless = [
  /^HEADER_(OFFSET|BYTES|SETTINGS|REGIONS|LISTENER_FDS|RING_PARAMS|ENTER_ARGUMENT|TIMEOUT|WAKE_VALUE|OPTION_ON|OPTION_OFF|OPTION_PORTS|NOW)$/,
  /^HEADER_(RANDOM_STATE|CONNECT|PROXY_HEADER|ACCEPTING|LISTENER_ACTIVE|ORPHANS_DUE_MS|KEEP_ALIVE_BOUNDS|AGE_BOUNDS)$/,
  /^COUNTERS_(REASONS|PROTOCOLS|CONNECTS|KEEP_ALIVES|KEEP_ALIVES_LAST|AGES|HOOK_\w+|BYTES)$/,
  /^SNAPSHOT_(HALF_BYTES|LISTENERS|LISTENER_BINDS|LISTENER_HOOKS|POOLS|BLOCKS|(LISTENER|POOL|BACKEND)_LIMITS)$/,
  /^CONNECT_(FLAG_\w+|BYTES_LIMIT)$/,
  /^RECORD_(SKIP|KEPT_SHIFT)$/,
  /^SOURCE_(IDS_MAX|ANY|REST_MS|COUNT_BYTES|PACE_BYTES|PACES)$/,
  /^LISTENER_BIND_BYTES$/,
  /^POOL_IDS_MAX$/,
  /^ADMISSION_BYTES$/,
  /^SESSION_WAYS$/,
  /^PROXY_HEADER_BYTES_MAX$/,
  /^DECISION_(ACCEPT|REFUSE|FAILED|TEXTS_BYTES_MAX)$/,
];

test('every offset of a shared struct is checked under its class', () => {
  const memory = readFileSync(join(root, 'assembly/memory.ts'), 'utf8');
  const layout = readFileSync(join(root, 'assembly/layout.ts'), 'utf8');
  const unchecked = [...layout.matchAll(/^export const (\w+) = /gm)].flatMap(([, name = '']) => {
    const prefix =
      /^(BACKEND_COUNTERS|SOURCE_COUNTERS|LISTENER_LIMITS|POOL_LIMITS|BACKEND_LIMITS|PROXY_HEADER|[A-Z]+)_/.exec(
        name,
      )?.[1] ?? '';
    if (!Object.hasOwn(structs, prefix) || fieldless.some((pattern) => pattern.test(name))) return [];
    const struct = structs[prefix as keyof typeof structs];
    const check = new RegExp(`offsetof<${struct}>\\(('\\w+')?\\) != ${name}\\)`);
    return check.test(memory) ? [] : [`${struct}: ${name}`];
  });
  assert.deepEqual(unchecked, []);
});

test('the compiled core carries no language runtime and imports nothing but memory', () => {
  const core = readFileSync(join(root, 'build/core.wat'), 'utf8');
  const plane = readFileSync(join(root, 'build/tidegate.wat'), 'utf8');
  assert.doesNotMatch(core + plane, /~lib\/rt/);
  const imports = (text: string) =>
    [...text.matchAll(/\(import "(\w+)" "(\w+)"/g)].map(([, from, name]) => `${from}.${name}`);
  assert.deepEqual(imports(core), ['env.memory']);
  assert.deepEqual(imports(plane), ['env.memory', 'ring.enter', 'ring.release']);
});

test('nothing unfinished is left lying about', () => {
  assert.deepEqual(findLines(code, /\b(TODO|FIXME|XXX|HACK)\b|console\.debug|\.only\(/, ['test/tidy.test.ts']), []);
});

test('every source file is imported by another, or is an entry', () => {
  const entries = [
    'assembly/index.ts',
    'assembly/core.ts',
    'bench/assembly/crowd.ts',
    'bench/assembly/load.ts',
    'src/cli.ts',
    'src/admin/page/page.js',
    'src/admin/write-openapi.ts',
    'src/demo.ts',
    'src/index.ts',
    'src/webassembly.d.ts',
  ];
  const imported = new Set(
    code.flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/(?:from|import\(|import|new URL\()\s*[`'"](\.[^'"`]+)['"`]/g)].map(
        ([, path]) =>
          withExtension(
            resolve(dirname(file), path!.replace('$' + '{extension}', 'ts').replace(/\$\{extname.*\}/, '.ts')),
          ),
      ),
    ),
  );
  const orphans = [...inFolder('assembly'), ...inFolder('src')]
    .filter((file) => !imported.has(file))
    .map((file) => relative(root, file))
    .filter((file) => !entries.includes(file));
  assert.deepEqual(orphans, []);
});

function withExtension(path: string): string {
  return /\.\w+$/.test(path) ? path : `${path}.ts`;
}
