// Deliberate defects, each a small change to the data plane's sources: the proof that the simulation bites. The text to
// be changed is compared without its white space, so that a formatter may have been at it; it must stand there once.
export interface Change {
  file: string;
  text: string;
  becomes: string;
}

export interface Defect {
  name: string;
  changes: Change[];
}

const PROXY = 'assembly/proxy/proxy.ts';
const BUFFERS = 'assembly/proxy/buffers.ts';
const TABLE = 'assembly/proxy/table.ts';
const CONNECTION = 'assembly/proxy/connection.ts';
const SOURCES = 'assembly/proxy/sources.ts';
const FIGURES = 'assembly/proxy/figures.ts';
const CODE = 'assembly/mqtt/connack-code.ts';
const DECIDE = 'assembly/proxy/decide.ts';
const ADMISSION = 'assembly/proxy/admission.ts';
const GATES = 'assembly/proxy/gates.ts';
const QUEUE = 'assembly/proxy/queue.ts';
const ARRIVALS = 'assembly/proxy/arrivals.ts';
const TAKE_OVERS = 'assembly/proxy/take-overs.ts';
const SOURCE_PACES = 'assembly/proxy/source-paces.ts';
const SOURCE_COUNTS = 'assembly/proxy/source-counts.ts';
const BYTE_RING = 'assembly/proxy/byte-ring.ts';
const EVICTIONS = 'assembly/proxy/evictions.ts';
const LOOP = 'assembly/proxy/loop.ts';
const FRONT = 'assembly/proxy/front-header.ts';
const GREETING = 'assembly/proxy/greeting.ts';
const HEADER_READER = 'assembly/mqtt/proxy-header-reader.ts';
const FRAMING = 'assembly/mqtt/framing.ts';
const REWRITE = 'assembly/mqtt/rewrite.ts';
const HOOK = 'assembly/proxy/hook.ts';
const RULES = 'assembly/identity/rules.ts';
const RING = 'assembly/uring/ring.ts';
const OPS = 'assembly/uring/ops.ts';

export const defects: readonly Defect[] = [
  defect('every life of a slot has the same generation', [TABLE, 'line.generation++;', '']),
  defect('a buffer is given back twice', [
    BUFFERS,
    'count().buffersHeld--; provideBuffer(buffer);',
    'count().buffersHeld--; provideBuffer(buffer); provideBuffer(buffer);',
  ]),
  defect('a buffer whose bytes were copied is not given back', [
    BUFFERS,
    'giveBackBuffer(buffer); return true;',
    'return true;',
  ]),
  defect('a client that found no buffer is not read again', [
    PROXY,
    'if (flags & FLAG_STARVED) readAgain(slot, CLIENT);',
    '',
  ]),
  defect(
    'a second send begins while one is in flight',
    [PROXY, 'bytes.head == NONE || hot(slot).pending & (1 << (OP_SEND + from))', 'bytes.head == NONE'],
    [PROXY, 'assert((line.pending & (1 << op)) == 0);', ''],
  ),
  defect('a quiet side is polled again and not read', [
    PROXY,
    'if (quietForMs(slot, side) > QUIET_GAP_MS) return prepReceive(slot, side, false, false, awaited(slot, OP_RECEIVE + side));',
    'if (quietForMs(slot, side) > QUIET_GAP_MS) return armPoll(slot, side);',
  ]),
  defect('a side that has become quiet is not polled', [
    PROXY,
    'if (line.flags & (FLAG_QUIET << side)) return armPoll(slot, side);',
    'if (line.flags & (FLAG_QUIET << side)) return;',
  ]),
  defect('what was polled is taken for received', [PROXY, 'line.flags &= ~(FLAG_POLLED << side);', '']),
  defect('memory that is still needed is released', [
    RING,
    'let buffer = spareHead; for',
    'for (let each: u32 = 0; each < buffersTouched; each++) setState(each, STATE_IDLE); let buffer = spareHead; for',
  ]),
  defect('the bit of an answered operation stays', [PROXY, 'line.pending &= ~(1 << op);', '']),
  defect('what a short send left over is not sent', [
    PROXY,
    'if (bytes.head != NONE) markDirty(slot, from); else settle(slot, from);',
    'settle(slot, from);',
  ]),
  defect('a short send is taken for a whole one', [PROXY, 'consume(bytes, length);', 'dropAll(bytes);']),
  defect('a source that was throttled is not read again', [
    PROXY,
    'consume(bytes, length); liftThrottle(slot, from);',
    'consume(bytes, length);',
  ]),
  defect(
    'a slot is freed before its operations came back',
    [PROXY, 'if (line.pending != 0) return;', ''],
    [TABLE, 'assert(line.pending == 0 && line.deadlineTick == 0);', ''],
  ),
  defect('some backends get the place of their client', [
    OPS,
    'return slot * 2 + side;',
    'return slot * 2 + (slot % 3 == 2 ? 0 : side);',
  ]),
  defect('a record is written twice', [
    CONNECTION,
    'writeRecord(slot, front);',
    'writeRecord(slot, front); writeRecord(slot, front);',
  ]),
  defect('records are written over unread ones', [BYTE_RING, 'if (free < untilEnd + bytesMax) return 0;', '']),
  defect('the timer of a closed connection stays', [
    PROXY,
    'clearTimer(slot); if (line.flags & FLAG_CLIENT_FILE)',
    'if (line.flags & FLAG_CLIENT_FILE)',
  ]),
  defect('the end of a side is not passed on', [
    PROXY,
    'prepShutdown(slot, 1 - side, awaited(slot, OP_SHUTDOWN + side));',
    '',
  ]),
  defect('an end overtakes the last bytes', [PROXY, 'return direction(slot, side).head == NONE && !(', 'return !(']),
  defect('consume is off by one', [
    BUFFERS,
    'first.start += part;',
    'first.start += part - (part > 1 && first.start + part < first.end ? 1 : 0);',
  ]),
  defect('a cancel that came too early is not repeated', [
    PROXY,
    '} else if (phase == PHASE_CLOSING) { cancelPending(slot, OP_RECEIVE, OP_DIAL);',
    '} else if (phase == PHASE_CLOSING) {',
  ]),
  defect('a receive is armed for a connection that was just closed', [
    PROXY,
    'if (line.phase == PHASE_FREE || line.phase == PHASE_CLOSING) return;',
    '',
  ]),
  defect('a receive that was cancelled by a throttle since lifted is not armed', [
    PROXY,
    'return onStarved(slot, side); if (result == -ECANCELED) return armReceive(slot, side);',
    'return onStarved(slot, side); if (result == -ECANCELED) return;',
  ]),
  defect('the slot of an accept that failed is not freed', [
    PROXY,
    'freeSlot(slot); if (result == -ECANCELED)',
    'if (result == -ECANCELED)',
  ]),
  defect('a client is judged silent since it came', [
    CONNECTION,
    'line.clientTick = currentTick(); count().bytesFromClients',
    'count().bytesFromClients',
  ]),
  defect('the server’s own keep alive is not heeded', [CONNECTION, 'else line.keepAlive = <u16>seconds;', '']),
  defect('a removed listener is accepted from as before', [PROXY, 'cancelAccepts(listener);', '']),
  defect('who waits for a removed listener is turned away', [
    PROXY,
    'if (slotAvailable() && header().clockMs < leaveEndMs) armAccept(listener, takeSlot(), false); else forgetListener(listener);',
    'forgetListener(listener);',
  ]),
  defect('a listener that is new is not accepted from', [PROXY, 'if (fd != NONE) openListeners++;', '']),
  defect('a connection is still counted for its listener', [
    CONNECTION,
    'store<u32>(active, load<u32>(active) - 1);',
    '',
  ]),
  defect('accepts that ended are still counted', [PROXY, 'acceptsInFlight--;', '']),
  defect('a full submission ring is written over', [
    RING,
    'if (submissionTail - submitted + count > submissionMask + 1) submit();',
    '',
  ]),
  defect('buffers are given back but not published', [
    RING,
    'publishBuffers(); publish(submissionTailAt, submissionTail);',
    'publish(submissionTailAt, submissionTail);',
  ]),
  defect('a piece of a vectored send begins at its buffer’s first byte', [
    PROXY,
    'addPiece(message, pieceAddress(buffer, note(buffer).start),',
    'addPiece(message, pieceAddress(buffer, 0),',
  ]),
  defect('bytes are copied past the end of a buffer', [
    BUFFERS,
    'last.end + length > header().bufferBytes',
    'last.end + length > header().bufferBytes + 32',
  ]),
  defect('bytes to the client are not counted', [PROXY, 'if (from == BACKEND) countToClient(slot, length);', '']),
  defect('what the client said before its backend took CONNECT is not counted for it', [
    CONNECTION,
    'backend.bytesTo += line.bytesFromClient;',
    '',
  ]),
  defect('bytes from a backend are counted twice', [
    CONNECTION,
    'backendCounters(line.backend).bytesFrom += length;',
    'backendCounters(line.backend).bytesFrom += length * 2;',
  ]),
  defect('a CONNECT is counted again for each of its dials', [
    DECIDE,
    'stampDial(line);',
    'stampDial(line); countConnect(poolAt(line.pool), line.version, line.keepAlive);',
  ]),
  defect('the time of a dial is not taken', [DECIDE, 'stampDial(line);', '']),
  defect('the flags of CONNACK are taken for its code', [CODE, 'skip(1);', '']),
  defect('a session that never was has an age', [FIGURES, 'if (!(hot(slot).flags & FLAG_ESTABLISHED)) return;', '']),
  defect('a connection that ended still counts as active', [
    CONNECTION,
    'dropBackend(line); forgetClientId(line);',
    'forgetClientId(line);',
  ]),
  defect('a source that had no port left is not changed', [
    SOURCES,
    'if (counters.restTick != 0 && <i32>(counters.restTick - currentTick()) > 0) return false;',
    '',
  ]),
  defect('a source without ports costs its backend the client', [
    CONNECTION,
    'const isTaken = isOfSnapshot(slot) && takeBackend(slot, backend);',
    'const isTaken = false;',
  ]),
  defect('the port of a connection that ended still counts as taken', [
    SOURCES,
    'sourceCounters(line.backend, line.source).active--;',
    '',
  ]),
  defect('the sources are not taken in turn', [SOURCES, 'counters.sourceTurn++ + header()', 'tried + header()']),
  defect('a client that no port was left for is told that no backend is there', [
    CONNECTION,
    'hot(slot).flags |= FLAG_OUT_OF_PORTS;',
    '',
  ]),
  defect('a crowded source is dialled from as if it had no ports', [
    OPS,
    'HEADER_OPTION_PORTS, userData',
    'HEADER_OPTION_ON, userData',
  ]),
  defect('a source is bound with a port', [
    OPS,
    'prepDialOption(place, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, HEADER_OPTION_ON, userData);',
    '',
  ]),
  defect('an evicted connection is left in the middle of a packet', [
    CONNECTION,
    'return framing == FRAMING_BOUNDARY || framing == FRAMING_UNKNOWN;',
    'return true;',
  ]),
  defect('what comes behind the last packet of an evicted side is passed on', [
    PROXY,
    'note(buffer).end = rest; return rest;',
    'return rest;',
  ]),
  defect('the second byte of a packet’s length is shifted wrongly', [
    FRAMING,
    '(7 * (kind - KIND_LENGTH))',
    '(8 * (kind - KIND_LENGTH))',
  ]),
  defect('an evicted client is told twice where to go', [
    PROXY,
    'appendBuffer(direction(slot, BACKEND), buffer); words.clientLeft = 0;',
    'appendBuffer(direction(slot, BACKEND), buffer);',
  ]),
  defect('an evicted client is told before it has got what waits for it', [
    PROXY,
    'else if (direction(slot, from).head != NONE) return armSend(slot, from); else if (wordsLeft(slot, side) > 0) return sendLastWords(slot, side);',
    'else if (wordsLeft(slot, side) > 0) return sendLastWords(slot, side); else if (direction(slot, from).head != NONE) return armSend(slot, from);',
  ]),
  defect('a client is named a server in a packet that it does not take', [
    CONNECTION,
    'return length <= room && (packetBytesMax == 0 || length <= packetBytesMax);',
    'return length <= room;',
  ]),
  defect('another life of an evicted connection’s slot is evicted', [
    EVICTIONS,
    'if (line.generation != entry.generation) return false;',
    '',
  ]),
  defect('a client is evicted before it was answered', [
    EVICTIONS,
    '(line.flags & (FLAG_ANSWERED | FLAG_LEAVING)) == FLAG_ANSWERED',
    '!(line.flags & FLAG_LEAVING)',
  ]),
  defect('evictions are not read', [LOOP, 'evict();', '']),
  defect('the backend of an evicted client is not told', [
    PROXY,
    'if (isThere && isListening(slot, BACKEND) && connectionSaysGoodbye(slot)) {',
    'if (false) {',
  ]),
  defect('an evicted connection is closed without giving its last words time', [
    PROXY,
    'else setTimerAtMost(slot, LINGER_MS);',
    'else closeConnection(slot, cold(slot).reason);',
  ]),
  defect('what an evicted side sends behind its last packet keeps its buffer', [
    PROXY,
    'if (length == 0) return giveBackBuffer(buffer);',
    'if (length == 0) return;',
  ]),
  defect('a client that was left behind is never let go', [
    PROXY,
    'const ticks = <i32>(load<u32>(due) - currentTick());',
    'const ticks = 1;',
  ]),
  defect('a token is good for two', [GATES, 'gateAt(index).tokens -= 1;', 'gateAt(index).tokens -= 0.5;']),
  defect('only the pool’s token is taken', [
    ADMISSION,
    'takeToken(backendGate(backend), backendLimitsAt(backend).rate);',
    '',
  ]),
  defect('tokens of a long sleep are kept', [
    GATES,
    'min(tokens, gate.waiting == 0 ? room : max(room, perMs * CATCH_UP_MS))',
    'tokens',
  ]),
  defect('whoever comes new goes first', [
    ADMISSION,
    'return othersWait ? lane :',
    'return othersWait && slot % 2 == 0 ? lane :',
  ]),
  defect('a lane is served from its end', [QUEUE, 'return gateAt(lane).head - 1;', 'return gateAt(lane).tail - 1;']),
  defect('whoever leaves stays in its lane', [
    PROXY,
    'noteReason(slot, reason); connectionLeaveQueue(slot);',
    'noteReason(slot, reason);',
  ]),
  defect('a lane loses those behind one who leaves', [
    QUEUE,
    'if (place.next != 0) placeOf(place.next - 1).previous = place.previous;',
    'if (place.next != 0 && place.previous == 0) placeOf(place.next - 1).previous = 0;',
  ]),
  defect('the queue is forgotten', [
    ADMISSION,
    'if (admission().queued == 0) return NONE; if (snapshot().epoch != epoch) lineUpAnew();',
    'if (admission().queued != 0) return NONE; if (snapshot().epoch != epoch) lineUpAnew();',
  ]),
  defect('nobody’s time in the queue is ever over', [
    ADMISSION,
    'if (queueLeftMs(slot) > 0) return VERDICT_QUEUE;',
    'return VERDICT_QUEUE;',
  ]),
  defect('everybody’s time in the queue is half of it', [
    ADMISSION,
    'return waited < limit ? limit - waited : 0;',
    'return waited * 2 < limit ? limit / 2 - waited : 0;',
  ]),
  defect('the queue is longer than it may be', [ADMISSION, '.waiting >= (limits', '.waiting > 2 + (limits']),
  defect('one client too many is let in', [
    GATES,
    'if (active < gate.allowance) return ROOM;',
    'if (active <= gate.allowance) return ROOM;',
  ]),
  defect('the place of a client that ended is not given back', [
    ADMISSION,
    '.active--; gateAt(poolGate(tally.pool)).active--;',
    '.active--;',
  ]),
  defect('a client that ended still counts for its source', [ADMISSION, 'leaveSource(slot);', '']),
  defect('a gap in the table of sources is not closed', [
    SOURCE_COUNTS,
    'if (entry.connections == 0) closeGap(index);',
    '',
  ]),
  defect('a source may have one client too many', [
    ARRIVALS,
    'sourceCount(line) >= partOf(limits.maxPerSource)',
    'sourceCount(line) > partOf(limits.maxPerSource)',
  ]),
  defect('who is here when a prefix changes is not counted anew', [
    SOURCE_COUNTS,
    'gate.prefixes = prefixes; for (let slot: u32 = 0; slot < slotsEnd(); slot++) if (isCounted(slot, listener)) addSource(slot, cold(slot));',
    'gate.prefixes = prefixes;',
  ]),
  defect('a source may come as fast as it likes', [
    SOURCE_PACES,
    'if (dueMs - now > earlyMs + ROUNDING_MS) return false;',
    '',
  ]),
  defect('the youngest of those who are half open is closed', [
    ARRIVALS,
    'const slot = gate.head - 1;',
    'const slot = gate.tail - 1;',
  ]),
  defect('as many may be half open as there are slots', [
    ARRIVALS,
    'return halfOpen > partOf(limits.maxHalfOpen);',
    'return halfOpen > header().connectionsMax;',
  ]),
  defect('a client whose CONNECT is whole stays half open', [
    CONNECTION,
    'if (verdict != VERDICT_MORE) endHalfOpen(slot);',
    '',
  ]),
  defect('whoever has to pause is let in', [
    CONNECTION,
    'if (!mustPause(slot, line, poolLimitsAt(line.pool).id)) return admit(slot);',
    'if (!mustPause(slot, line, poolLimitsAt(line.pool).id) || true) return admit(slot);',
  ]),
  defect('a session of another name is taken over', [
    TAKE_OVERS,
    'if (session.tag == tag && isOpen(session)) tallyOf(slot).marks |= <u8>MARK_OVERLAP;',
    'if (isOpen(session)) tallyOf(slot).marks |= <u8>MARK_OVERLAP;',
  ]),
  defect('a full backend is dialled all the same', [ADMISSION, 'else full |= (<u64>1) << index;', '']),
  defect('who was queued after a dial keeps its backend’s socket', [
    PROXY,
    'dropBackendFile(slot); setTimer',
    'setTimer',
  ]),
  defect('whoever exceeds a rate is told that its quota is exceeded', [
    'assembly/mqtt/connack.ts',
    'return answers(SERVER_UNAVAILABLE, CONNECTION_RATE_EXCEEDED);',
    'return answers(SERVER_UNAVAILABLE, QUOTA_EXCEEDED);',
  ]),
  defect('whoever is no front is heard', [FRONT, 'if (!holdsPeer(', 'if (false && !holdsPeer(']),
  defect('a client is known by its front’s address', [
    FRONT,
    'if (found.hasAddress) memory.copy(peerOf(line), changetype<usize>(found) + PROXY_HEADER_SOURCE, SOCKADDR_BYTES_MAX);',
    '',
  ]),
  defect('the port of a client behind a front is its front’s', [
    HEADER_READER,
    'writeSockaddr(out + PROXY_HEADER_SOURCE, number, at, ports);',
    'writeSockaddr(out + PROXY_HEADER_SOURCE, number, at, ports + 2);',
  ]),
  defect('a header’s checksum isn’t looked at', [HEADER_READER, 'return crc == bswap', 'return crc != bswap']),
  defect('a header that came in pieces is taken for a malformed one', [
    HEADER_READER,
    'if (length < total) return PARSE_PARTIAL;',
    'if (length < total) return PARSE_REFUSED;',
  ]),
  defect('a front’s header is passed on', [PROXY, 'consume(bytes, headerBytes); if', 'if']),
  defect('what came with the end of a header is not counted', [
    PROXY,
    'countFromClient(slot, length); noteGoodbye(slot, at, length);',
    'noteGoodbye(slot, at, length);',
  ]),
  defect('what came with the end of a header is not followed', [
    PROXY,
    'connectionFramed(slot, CLIENT, at, length); countFromClient',
    'countFromClient',
  ]),
  defect('a backend’s header counts as the client’s bytes', [
    PROXY,
    'const result = sent - <i32>greetingBytes(slot);',
    'const result = sent;',
  ]),
  defect('a backend that took half of its header has the client', [
    PROXY,
    'endGreeting(slot); if (result <= 0) return',
    'endGreeting(slot); if (sent <= 0) return',
  ]),
  defect('a header is given back before it is sent', [
    GREETING,
    'line.greeting = takeGreeting();',
    'line.greeting = takeGreeting(); freeHead = line.greeting;',
  ]),
  defect('the header of a connection that ended is kept', [
    PROXY,
    'endGreeting(slot); clearTimer(slot);',
    'clearTimer(slot);',
  ]),
  defect('two connections have one unique id', [
    GREETING,
    'writeHexDigits(slot, 6, id + 20);',
    'writeHexDigits(0, 6, id + 20);',
  ]),
  defect('what came behind a CONNECT is passed on with it and once more', [
    PROXY,
    'consume(bytes, replacedBytes()); if (prepend',
    'consume(bytes, replacedBytes() / 2); if (prepend',
  ]),
  defect('a rewritten CONNECT is written over what came behind it', [
    BUFFERS,
    'if (head != NONE && note(head).start >= length)',
    'if (head != NONE && note(head).start + note(head).end >= length)',
  ]),
  defect('a rewritten CONNECT that no buffer is left for goes out without its end', [
    BUFFERS,
    'if (buffer == NONE) return false;',
    'if (buffer == NONE) return true;',
  ]),
  defect('a decision is carried out for whoever is in the slot', [
    HOOK,
    'return line.generation == entry.generation && line.phase == PHASE_ASKING;',
    'return line.phase == PHASE_ASKING;',
  ]),
  defect('a decision is carried out whatever has become of its client', [
    HOOK,
    'return line.generation == entry.generation && line.phase == PHASE_ASKING;',
    'return line.generation == entry.generation;',
  ]),
  defect('a client whose hook has failed is let in', [
    HOOK,
    'if (hookAt(line.listener).accepts == 0) return refuseFor(line, reason);',
    '',
  ]),
  defect('a client waits for its hook for ever', [PROXY, 'setTimer(slot, hookTimeoutMs(slot));', '{}']),
  defect('what a hook leaves alone is lost when something else is rewritten', [
    HOOK,
    'if (decision.usernameBytes == NONE) setField(FIELD_USERNAME, bytes + found.username, found.usernameBytes); else setField',
    'setField',
  ]),
  defect('the hook is asked about what the client has said', [
    CONNECTION,
    'return advance(slot, rewrittenAddress(), front);',
    'return advance(slot, rewrittenAddress() + 1, front);',
  ]),
  defect('the flags of a rewritten CONNECT are the client’s', [
    REWRITE,
    'store<u8>(at + flagsOffset(found.version), flagsWith(found.flags, hasUsername, hasPassword));',
    '',
  ]),
  defect('the log knows a client by the name that it gave itself', [
    DECIDE,
    'adopt(slot, index, found, packet, front); return packet == bytes',
    'adopt(slot, index, found, packet, front); forgetClientId(line); keepClientId(line, bytes + found.clientId, found.clientIdBytes); return packet == bytes',
  ]),
  defect('whoever is denied is only told so', [RULES, 'if (other != REASON_NONE) return other;', '']),
  defect('everybody may come', [CONNECTION, 'line.reason = <u16>(isAllowed ?', 'line.reason = <u16>(true ?']),
  defect('the kernel is given offsets for addresses', [RING, 'return base + <u64>offset;', 'return <u64>offset;']),
  defect('the last answers of a batch are skipped', [
    RING,
    'while (completionHead != tail) {',
    'while (completionHead != tail) { if (drained > 3 && tail - completionHead == 1) { completionHead++; break; }',
  ]),
];

function defect(name: string, ...changes: [file: string, text: string, becomes: string][]): Defect {
  return { name, changes: changes.map(([file, text, becomes]) => ({ file, text, becomes })) };
}

/** The source with the defect in it. Throws when the text isn't there, or more than once: the table must follow the code. */
export function withDefect({ name, changes }: Defect, file: string, source: string): string {
  let changed = source;
  for (const change of changes) if (change.file === file) changed = apply(name, change, changed);
  return changed;
}

function apply(name: string, { file, text, becomes }: Change, source: string): string {
  const { stripped, positions } = strip(source);
  const wanted = strip(text).stripped;
  const at = stripped.indexOf(wanted);
  if (at < 0) throw new Error(`${name}: ${file} no longer holds: ${text}`);
  if (stripped.indexOf(wanted, at + 1) >= 0) throw new Error(`${name}: ${file} holds more than once: ${text}`);
  const end = positions[at + wanted.length - 1]! + 1;
  return source.slice(0, positions[at]!) + becomes + source.slice(end);
}

/** Without white space, and where each remaining character stood. */
function strip(text: string): { stripped: string; positions: number[] } {
  const positions: number[] = [];
  let stripped = '';
  for (let index = 0; index < text.length; index++) {
    if (/\s/.test(text[index]!)) continue;
    stripped += text[index];
    positions.push(index);
  }
  return { stripped, positions };
}
