// Looks every second how much memory is left, and calls everything off before the kernel has to choose whom it kills.
import { availableBytes, gibibytes, MEMORY_SPARE_BYTES } from './size.ts';

const LOOK_MS = 1000;

export class OutOfMemory extends Error {}

/** The signal is aborted with an OutOfMemory when less than MEMORY_SPARE_BYTES is left. */
export function watchMemory(): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const look = (): void => {
    const available = availableBytes();
    if (available >= MEMORY_SPARE_BYTES) return;
    controller.abort(new OutOfMemory(`called off: only ${gibibytes(available)} of memory were left`));
  };
  const timer = setInterval(look, LOOK_MS);
  return { signal: controller.signal, end: () => clearInterval(timer) };
}
