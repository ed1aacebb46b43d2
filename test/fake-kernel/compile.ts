// The data plane compiled apart from the build: with the names of its functions for a trace, or with a defect put into
// its sources on the way to the compiler. Nothing is written to disk.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const root = fileURLToPath(new URL('../..', import.meta.url));
const OUTPUT = 'plane.wasm';

/** Returns the text of a source file of assembly/ as the compiler shall see it; `file` is its path from the root. */
export type Edit = (file: string, text: string) => string;

export async function compileDataPlaneFrom(edit: Edit, options: string[] = []): Promise<WebAssembly.Module> {
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await main(
    ['assembly/index.ts', '--target', 'tidegate', '--baseDir', root, '--outFile', OUTPUT, '--textFile', '', ...options],
    {
      readFile: (name, base) => readSource(join(base, name), edit),
      writeFile: (name, contents) => {
        if (name === OUTPUT) wasm = contents as Uint8Array;
      },
    },
  );
  if (error || !wasm) throw new Error(`the data plane does not compile: ${error?.message ?? ''} ${stderr.toString()}`);
  return new WebAssembly.Module(wasm);
}

/** The same with a name for each function, so that a trap says where it was. */
export function compileWithNames(): Promise<WebAssembly.Module> {
  return compileDataPlaneFrom((_file, text) => text, ['--debug']);
}

function readSource(path: string, edit: Edit): string | null {
  try {
    const text = readFileSync(path, 'utf8');
    return edit(path.slice(root.length), text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
