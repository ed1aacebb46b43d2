// Why connections end, as logs, metrics and the admin API name it. The names are stable: people alert by them.
import {
  REASON_BACKEND_CLOSED,
  REASON_BACKEND_RESET,
  REASON_BACKEND_STALLED,
  REASON_BUFFERS_SHORT,
  REASON_CLIENT_CLOSED,
  REASON_CLIENT_ID_REQUIRED,
  REASON_CLIENT_LEFT_EARLY,
  REASON_CLIENT_RESET,
  REASON_CLIENT_STALLED,
  REASON_CONNECT_EXPECTED,
  REASON_CONNECT_TIMEOUT,
  REASON_CONNECT_TOO_LARGE,
  REASON_CONNECTIONS_MAX,
  REASON_FIELD_TOO_LONG,
  REASON_FIXED_HEADER_FLAGS,
  REASON_HTTP_REQUEST,
  REASON_IDLE_TIMEOUT,
  REASON_INTERNAL,
  REASON_KEEP_ALIVE_TIMEOUT,
  REASON_NO_BACKEND,
  REASON_NONE,
  REASON_NOT_MQTT,
  REASON_NULL_CHARACTER,
  REASON_PASSWORD_WITHOUT_USERNAME,
  REASON_PORTS_EXHAUSTED,
  REASON_PROPERTY_DUPLICATE,
  REASON_PROPERTY_LENGTH,
  REASON_PROPERTY_UNKNOWN,
  REASON_PROPERTY_VALUE,
  REASON_PROTOCOL_NAME,
  REASON_PROTOCOL_VERSION,
  REASON_REMAINING_LENGTH,
  REASON_RESERVED_FLAG,
  REASON_SHUTDOWN,
  REASON_TLS_HELLO,
  REASON_TRAILING_BYTES,
  REASON_UTF8,
  REASON_WILL_FLAGS,
  REASON_WILL_TOPIC,
  REASON_WORKER_DIED,
} from '../assembly/layout.ts';

export interface Reason {
  name: string;
  /** As NGINX's stream module counts: 200 for every session that was established, however it ended. */
  status: 200 | 400 | 403 | 500 | 502 | 503;
  /** Whose it was. */
  side: 'client' | 'backend' | 'internal';
}

const client = (name: string): Reason => ({ name, status: 400, side: 'client' });
const ended = (name: string, side: Reason['side']): Reason => ({ name, status: 200, side });

const byNumber: Record<number, Reason> = {
  [REASON_NONE]: ended('none', 'internal'),
  [REASON_HTTP_REQUEST]: client('http_request'),
  [REASON_TLS_HELLO]: client('tls_hello'),
  [REASON_CONNECT_EXPECTED]: client('connect_expected'),
  [REASON_NOT_MQTT]: client('not_mqtt'),
  [REASON_FIXED_HEADER_FLAGS]: client('fixed_header_flags'),
  [REASON_REMAINING_LENGTH]: client('remaining_length'),
  [REASON_CONNECT_TOO_LARGE]: client('connect_too_large'),
  [REASON_PROTOCOL_NAME]: client('protocol_name'),
  [REASON_PROTOCOL_VERSION]: client('protocol_version'),
  [REASON_RESERVED_FLAG]: client('reserved_flag'),
  [REASON_WILL_FLAGS]: client('will_flags'),
  [REASON_PASSWORD_WITHOUT_USERNAME]: client('password_without_username'),
  [REASON_UTF8]: client('utf8'),
  [REASON_NULL_CHARACTER]: client('null_character'),
  [REASON_FIELD_TOO_LONG]: client('field_too_long'),
  [REASON_TRAILING_BYTES]: client('trailing_bytes'),
  [REASON_PROPERTY_UNKNOWN]: client('property_unknown'),
  [REASON_PROPERTY_DUPLICATE]: client('property_duplicate'),
  [REASON_PROPERTY_VALUE]: client('property_value'),
  [REASON_PROPERTY_LENGTH]: client('property_length'),
  [REASON_CLIENT_ID_REQUIRED]: client('client_id_required'),
  [REASON_WILL_TOPIC]: client('will_topic'),
  [REASON_CONNECT_TIMEOUT]: client('connect_timeout'),
  [REASON_CLIENT_LEFT_EARLY]: client('client_left_early'),
  [REASON_NO_BACKEND]: { name: 'no_backend', status: 502, side: 'backend' },
  [REASON_CONNECTIONS_MAX]: { name: 'connections_max', status: 503, side: 'internal' },
  [REASON_SHUTDOWN]: { name: 'shutdown', status: 503, side: 'internal' },
  [REASON_WORKER_DIED]: { name: 'worker_died', status: 500, side: 'internal' },
  [REASON_INTERNAL]: { name: 'internal', status: 500, side: 'internal' },
  [REASON_BUFFERS_SHORT]: { name: 'buffers_short', status: 503, side: 'internal' },
  [REASON_PORTS_EXHAUSTED]: { name: 'ports_exhausted', status: 503, side: 'internal' },
  [REASON_CLIENT_CLOSED]: ended('client_closed', 'client'),
  [REASON_CLIENT_RESET]: ended('client_reset', 'client'),
  [REASON_BACKEND_CLOSED]: ended('backend_closed', 'backend'),
  [REASON_BACKEND_RESET]: ended('backend_reset', 'backend'),
  [REASON_CLIENT_STALLED]: ended('client_stalled', 'client'),
  [REASON_BACKEND_STALLED]: ended('backend_stalled', 'backend'),
  [REASON_KEEP_ALIVE_TIMEOUT]: ended('keep_alive_timeout', 'client'),
  [REASON_IDLE_TIMEOUT]: ended('idle_timeout', 'client'),
};

/** Indexed by REASON_*; a number that isn't in use has no entry. */
export const reasons: readonly (Reason | undefined)[] = Object.assign([], byNumber);
