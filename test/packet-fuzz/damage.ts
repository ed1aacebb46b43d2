// What becomes of good bytes on their way to whoever must not trust them.
import fc from 'fast-check';

type Damage =
  | { kind: 'set' | 'insert'; at: number; byte: number }
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'remove'; at: number };

const at = fc.oneof(fc.nat(20), fc.nat(200), fc.nat(2000)); // the first bytes decide most
const byte = fc.oneof(fc.nat(255), fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xc0, 0xff));
const damage: fc.Arbitrary<Damage> = fc.oneof(
  // Bytes that come or go leave a length that is wrong: once in a while is enough.
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('set' as const), at, byte }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('insert' as const), at, byte }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), at }) },
);

/** A damaged copy, and the length of the piece of it that comes first. */
export interface Variant {
  damages: Damage[];
  cut: number;
}

export const variant: fc.Arbitrary<Variant> = fc.record({
  damages: fc.array(damage, { minLength: 1, maxLength: 3 }),
  cut: fc.nat(),
});

export function damaged(good: Uint8Array, damages: readonly Damage[]): Buffer {
  const bytes = [...good];
  for (const one of damages) {
    const index = one.at % Math.max(1, bytes.length);
    if (one.kind === 'set') bytes[index] = one.byte;
    else if (one.kind === 'flip') bytes[index] = Number(bytes[index]) ^ (1 << one.bit);
    else if (one.kind === 'insert') bytes.splice(index, 0, one.byte);
    else bytes.splice(index, 1);
  }
  return Buffer.from(bytes);
}

/** The beginning that a random number asks for, whole ones among them. */
export function beginning(bytes: Buffer, cut: number): Buffer {
  return bytes.subarray(0, cut % (bytes.length + 1));
}
