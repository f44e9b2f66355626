// Bound to the C library by ffi.json when the executable is compiled. scriptc passes a Uint8Array as pointer and length.

/** socket(2). */
declare function c_socket(domain: number, type: number, protocol: number): number
/** connect(2); the address is a filled `struct sockaddr_un`. */
declare function c_connect(fd: number, address: Uint8Array): number
/** setsockopt(2). */
declare function c_setsockopt(fd: number, level: number, option: number, value: Uint8Array): number
/** send(2), here with the flags last as in C. */
declare function c_send(fd: number, bytes: Uint8Array, flags: number): number
/** recv(2). */
declare function c_recv(fd: number, bytes: Uint8Array, flags: number): number
/** close(2). */
declare function c_close(fd: number): number
/** poll(2); no bytes are no descriptors, which makes it a pause. */
declare function c_poll(none: Uint8Array, ms: number): number

const AF_UNIX = 1
const SOCK_STREAM_CLOEXEC = 0o2000001
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
const SO_SNDTIMEO = 21
const MSG_NOSIGNAL = 0x4000

/** `struct sockaddr_un`: the family, the path, a zero. */
const addressOf = (path: string): Uint8Array => {
  const text = new TextEncoder().encode(path)
  const address = new Uint8Array(2 + text.length + 1)
  address[0] = AF_UNIX
  address.set(text, 2)
  return address
}

/** `struct timeval` of a 64-bit machine. Zero would mean "for ever". */
const timeval = (ms: number): Uint8Array => {
  const whole = Math.max(1, Math.ceil(ms))
  const bytes = new Uint8Array(16)
  const fields = new DataView(bytes.buffer)
  fields.setInt32(0, Math.floor(whole / 1000), true)
  fields.setInt32(8, (whole % 1000) * 1000, true)
  return bytes
}

/** Limits how long each later call on the socket may block. */
export function setTimeouts(fd: number, ms: number): void {
  c_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeval(ms))
  c_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeval(ms))
}

/** A new unix stream socket; negative on failure. */
export function openSocket(): number {
  return c_socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0)
}

/** Connects; false on failure. */
export function connect(fd: number, path: string): boolean {
  return c_connect(fd, addressOf(path)) === 0
}

/** Sends some of the bytes and says how many; negative on failure. A daemon that went away is a failure, not a signal. */
export function send(fd: number, bytes: Uint8Array): number {
  return c_send(fd, bytes, MSG_NOSIGNAL)
}

/** Receives what is there, at least a byte; 0 at the end, negative on failure or when the time is over. */
export function receive(fd: number, into: Uint8Array): number {
  return c_recv(fd, into, 0)
}

/** Closes a socket. */
export function close(fd: number): void {
  c_close(fd)
}

/** Waits; less if a signal comes. */
export function pause(ms: number): void {
  c_poll(new Uint8Array(0), ms)
}
