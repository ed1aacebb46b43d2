// The kernel's numbers in the kernel's spelling (include/uapi/linux/io_uring.h and the socket headers), for both
// compilers: only `export const NAME = integer expression` may stand here.

// What the data plane asks of the kernel. These and no others the ring may carry out, and with no other IOSQE_* flags
// (src/engine/uring.ts forbids the rest), so nothing stands here that isn't used.
export const IORING_OP_SENDMSG = 9;
export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_ACCEPT = 13;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_CONNECT = 16;
export const IORING_OP_CLOSE = 19;
export const IORING_OP_READ = 22;
export const IORING_OP_SEND = 26;
export const IORING_OP_RECV = 27;
export const IORING_OP_SHUTDOWN = 34;
export const IORING_OP_SOCKET = 45;
export const IORING_OP_URING_CMD = 46;
export const IORING_OP_BIND = 56;

export const IOSQE_FIXED_FILE = 1 << 0;
export const IOSQE_IO_LINK = 1 << 2;
export const IOSQE_BUFFER_SELECT = 1 << 5;
export const IOSQE_CQE_SKIP_SUCCESS = 1 << 6;

export const IORING_RECVSEND_POLL_FIRST = 1 << 0;
export const IORING_RECV_MULTISHOT = 1 << 1;
export const IORING_ACCEPT_DONTWAIT = 1 << 1; // 6.10: EAGAIN at once when nobody waits in the queue
export const SOCKET_URING_OP_SETSOCKOPT = 3;

export const IORING_CQE_F_BUFFER = 1 << 0;
export const IORING_CQE_F_MORE = 1 << 1;
export const IORING_CQE_BUFFER_SHIFT = 16;

export const IORING_ENTER_GETEVENTS = 1 << 0;
export const IORING_ENTER_EXT_ARG = 1 << 3;

export const IORING_SETUP_CQSIZE = 1 << 3;
export const IORING_SETUP_R_DISABLED = 1 << 6;
export const IORING_SETUP_SUBMIT_ALL = 1 << 7;
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
export const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
export const IORING_SETUP_NO_MMAP = 1 << 14;
export const IORING_SETUP_NO_SQARRAY = 1 << 16;
export const IORING_FEAT_MIN_TIMEOUT = 1 << 15;

export const IORING_REGISTER_RESTRICTIONS = 11;
export const IORING_REGISTER_ENABLE_RINGS = 12;
export const IORING_REGISTER_FILES2 = 13;
export const IORING_REGISTER_PBUF_RING = 22;
export const IORING_RSRC_REGISTER_SPARSE = 1;

// struct io_uring_sqe
export const SQE_OPCODE = 0; // u8
export const SQE_FLAGS = 1; // u8
export const SQE_IOPRIO = 2; // u16
export const SQE_FD = 4; // i32
export const SQE_OFF = 8; // u64; addr2; cmd_op u32
export const SQE_ADDR = 16; // u64; level u32
export const SQE_OPTNAME = 20; // u32
export const SQE_LEN = 24; // u32
export const SQE_OP_FLAGS = 28; // u32
export const SQE_USER_DATA = 32; // u64
export const SQE_BUF_GROUP = 40; // u16
export const SQE_FILE_INDEX = 44; // u32, 1-based
export const SQE_OPTLEN = 44; // u32, in the same place
export const SQE_OPTVAL = 48; // u64

// struct io_uring_cqe
export const CQE_USER_DATA = 0; // u64
export const CQE_RES = 8; // i32
export const CQE_FLAGS = 12; // u32

// struct io_uring_params
export const PARAMS_BYTES = 120;
export const PARAMS_SQ_ENTRIES = 0;
export const PARAMS_CQ_ENTRIES = 4;
export const PARAMS_FLAGS = 8;
export const PARAMS_FEATURES = 20;
export const PARAMS_SQ_HEAD = 40;
export const PARAMS_SQ_TAIL = 44;
export const PARAMS_SQ_USER_ADDR = 72; // u64
export const PARAMS_CQ_HEAD = 80;
export const PARAMS_CQ_TAIL = 84;
export const PARAMS_CQ_CQES = 100;
export const PARAMS_CQ_USER_ADDR = 112; // u64

// struct io_uring_buf: the ring's tail lies in the first entry's reserved half-word
export const BUF_ADDR = 0;
export const BUF_LEN = 8;
export const BUF_BID = 12;
export const BUF_RING_TAIL = 14;

// struct io_uring_buf_reg
export const BUF_REG_RING_ADDR = 0; // u64
export const BUF_REG_RING_ENTRIES = 8;
export const BUF_REG_BYTES = 40;

// struct io_uring_rsrc_register
export const RSRC_REGISTER_NR = 0;
export const RSRC_REGISTER_FLAGS = 4;
export const RSRC_REGISTER_BYTES = 32;

// struct io_uring_restriction
export const RESTRICTION_OPCODE = 0; // u16
export const RESTRICTION_VALUE = 2; // u8: sqe_op or sqe_flags
export const RESTRICTION_BYTES = 16;
export const IORING_RESTRICTION_SQE_OP = 1;
export const IORING_RESTRICTION_SQE_FLAGS_ALLOWED = 2;

// struct io_uring_getevents_arg
export const GETEVENTS_SIGMASK = 0;
export const GETEVENTS_SIGMASK_SZ = 8;
export const GETEVENTS_MIN_WAIT_USEC = 12;
export const GETEVENTS_TS = 16;
export const GETEVENTS_BYTES = 24;

// struct msghdr on 64-bit Linux, struct iovec
export const MSGHDR_IOV = 16;
export const MSGHDR_IOVLEN = 24;
export const MSGHDR_BYTES = 56;
export const IOVEC_BYTES = 16;

// sockets
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IP_LOCAL_PORT_RANGE = 51;
export const TCP_NODELAY = 1;
export const TCP_QUICKACK = 12;
export const MSG_WAITALL = 0x100;
export const MSG_NOSIGNAL = 0x4000;
export const POLLIN = 1;
export const SHUT_WR = 1;

// errno
export const EINTR = 4;
export const EBADF = 9;
export const EAGAIN = 11;
export const EBUSY = 16;
export const ENFILE = 23;
export const EMFILE = 24;
export const ETIME = 62;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENOBUFS = 105;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const EPIPE = 32;
export const ETIMEDOUT = 110;
export const ECANCELED = 125;
