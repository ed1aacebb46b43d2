// The part of the WebAssembly API that this project uses. Node has it, but the types for Node leave it to the DOM's
// library, which would also declare a browser around it.
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    grow(pages: number): number;
  }

  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }

  class Instance {
    constructor(
      module: Module,
      imports: Record<string, Record<string, Memory | ((...parameters: number[]) => unknown)>>,
    );
    readonly exports: object;
  }
}
