/**
 * Milliseconds granted on top of what a deadline allows, to a machine that does other things too: such a bound tells
 * a deadline that is kept from one that is forgotten, not how fast something is. That is the benches' work.
 */
export const PATIENCE_MS = 10_000;
