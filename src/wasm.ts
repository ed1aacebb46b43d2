// The only place that compiles and instantiates WebAssembly: the modules that `npm run build:wasm` makes.
import { readFileSync } from 'node:fs';

export const WASM_PAGE_BYTES = 65536;

// build/ stands beside src/ in a checkout and beside dist/ in the package.
export function compile(name: 'core.wasm' | 'tidegate.wasm'): WebAssembly.Module {
  const file = new URL(`../build/${name}`, import.meta.url);
  try {
    return new WebAssembly.Module(readFileSync(file));
  } catch (error) {
    throw new Error(`can't load ${file.pathname}: run "npm run build:wasm" to make it`, { cause: error });
  }
}

/** `Exports` is what the caller knows of the module. */
export function instantiate<Exports>(
  module: WebAssembly.Module,
  imports: ConstructorParameters<typeof WebAssembly.Instance>[1],
): Exports {
  return new WebAssembly.Instance(module, imports).exports as Exports;
}
