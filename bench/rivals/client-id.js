// For nginx's njs: the ClientId of a CONNECT packet as a variable.
export default { preread, clientId };

let found = '';

function preread(session) {
  session.on('upstream', (data) => {
    const id = readClientId(data);
    if (id === null) return;
    found = id;
    session.done();
  });
}

function clientId() {
  return found;
}

// The variable header of CONNECT: protocol name, level, flags, keep alive; then, before 5.0, the ClientId.
function readClientId(packet) {
  let offset = 1;
  while (offset < packet.length && packet[offset] >= 128) offset++;
  offset++;
  if (offset + 2 > packet.length) return null;
  offset += 2 + packet.readUInt16BE(offset) + 4;
  if (offset + 2 > packet.length) return null;
  const end = offset + 2 + packet.readUInt16BE(offset);
  if (end > packet.length) return null;
  return packet.slice(offset + 2, end).toString('utf8');
}
