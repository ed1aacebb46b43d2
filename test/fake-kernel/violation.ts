/** Something that must never happen did. What it is about is named as far as known, for the trace. */
export class Violation extends Error {
  readonly slot: number | undefined;
  readonly life: number | undefined;

  constructor(message: string, about: { slot?: number; life?: number } = {}) {
    super(message);
    this.name = 'Violation';
    this.slot = about.slot;
    this.life = about.life;
  }
}
