/**
 * Calls back when the time is over, but not before what has arrived by then was read: after a pause of the whole
 * process its timers are served first, and an answer that lay in the socket all the time would be called late.
 */
export function startDeadline(ms: number, onOver: () => void): { cancel(): void } {
  let immediate: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    immediate = setImmediate(onOver);
  }, ms);
  return {
    cancel() {
      clearTimeout(timer);
      clearImmediate(immediate);
    },
  };
}
