// Words that two threads, or a thread and the kernel, look at: the only atomics of the data plane.

/** Makes everything written so far visible, then this word. */
export function publish(address: usize, value: u32): void {
  atomic.store<u32>(address, value);
}

/** Reads a word that another side publishes; what it published before is visible afterwards. */
export function observe(address: usize): u32 {
  return atomic.load<u32>(address);
}

/** Wakes whoever waits for the word, after it was published. */
export function wake(address: usize): void {
  atomic.notify(address, -1);
}

export function publish16(address: usize, value: u16): void {
  atomic.store<u16>(address, value);
}
