import { closeSync, readSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import type { Libc } from '../native/libc.ts'
import { Refusal, errnoOf } from '../native/errno.ts'
import { decodeMessages, encodeMessage, type Message, MESSAGE_HEADER, readAttributes, readText } from './codec.ts'
import { AF, NLM_F, NLMSG } from './constants.ts'

const SOCK_RAW = 3
const NETLINK_ROUTE = 0
/** Protocol of IPsec's associations and policies. */
export const NETLINK_XFRM = 6
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const NLMSGERR_ATTR_MSG = 1
const DUMP_ATTEMPTS = 5
// The kernel answers before write returns; only a lost answer makes a read wait at all.
const RECEIVE_TIMEOUT_SECONDS = 10
// The longest datagram is of a link with as many alternative names as the kernel takes, 64 KiB, and all else that it has.
const RECEIVE_BUFFER = 131_072

const ONE = Buffer.from([1, 0, 0, 0])

const errorOf = (payload: Buffer, flags: number): Refusal | undefined => {
  const errno = -payload.readInt32LE(0)
  if (errno === 0) return undefined
  const echoed = flags & NLM_F.CAPPED ? MESSAGE_HEADER : payload.readUInt32LE(4)
  const explained = flags & NLM_F.ACK_TLVS ? readAttributes(payload.subarray(4 + echoed)).get(NLMSGERR_ATTR_MSG) : undefined
  return new Refusal(errno, explained === undefined ? '' : readText(explained))
}

const unexpectedAck = (): Refusal => new Refusal(constants.errno.EBADMSG, 'the kernel acknowledged a question instead of answering it')

/**
 * A netlink socket, of rtnetlink if nothing else is said. Everything is synchronous: the kernel has done the work when the call returns.
 *
 * Belongs for ever to the namespace in which its thread was when it was opened.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: number
  readonly #buffer: Buffer
  #seq = 0

  private constructor(fd: number, buffer: Buffer) {
    this.#fd = fd
    this.#buffer = buffer
  }

  /** Memory to receive into. All sockets of a thread can share it: no call leaves anything in it. */
  static receiveBuffer(): Buffer {
    return Buffer.allocUnsafeSlow(RECEIVE_BUFFER)
  }

  /**
   * Opens a socket in the namespace of the calling thread, with strict checking and explained errors.
   *
   * @param buffer - of {@link NetlinkSocket.receiveBuffer}
   * @throws Refusal
   */
  static open(libc: Libc, buffer: Buffer, protocol: number = NETLINK_ROUTE): NetlinkSocket {
    const fd = libc.socket(AF.NETLINK, SOCK_RAW, protocol)
    try {
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) libc.setsockopt(fd, SOL_NETLINK, option, ONE)
      const timeout = Buffer.alloc(16)
      timeout.writeBigInt64LE(BigInt(RECEIVE_TIMEOUT_SECONDS))
      libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return new NetlinkSocket(fd, buffer)
  }

  /**
   * Makes one change and waits for its acknowledgement.
   *
   * @param parts - fixed part and attributes
   * @param flags - besides REQUEST and ACK
   * @throws Refusal with the kernel's errno and explanation
   */
  change(type: number, parts: readonly Uint8Array[], flags = 0): void {
    const seq = this.#send(type, flags | NLM_F.ACK, parts)
    for (;;) {
      const answer = this.#receive(seq).find((message) => message.type === NLMSG.ERROR)
      if (answer === undefined) continue
      const refusal = errorOf(answer.payload, answer.flags)
      if (refusal !== undefined) throw refusal
      return
    }
  }

  /**
   * Reads one object.
   *
   * @returns the payload of the kernel's answer
   * @throws Refusal with the kernel's errno and explanation
   */
  get(type: number, parts: readonly Uint8Array[]): Buffer {
    const seq = this.#send(type, 0, parts)
    for (;;) {
      const [answer] = this.#receive(seq)
      if (answer === undefined) continue
      if (answer.type !== NLMSG.ERROR) return Buffer.from(answer.payload)
      throw errorOf(answer.payload, answer.flags) ?? unexpectedAck()
    }
  }

  /**
   * Reads a whole table. A table that changes meanwhile is read again, a few times.
   *
   * @returns type and payload of each entry
   * @throws Refusal with the kernel's errno and explanation; EINTR if the table never stood still
   */
  dump(type: number, parts: readonly Uint8Array[]): { type: number; payload: Buffer }[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const entries = this.#dumpOnce(type, parts)
      if (entries !== undefined) return entries
    }
    throw new Refusal(constants.errno.EINTR, `the table kept changing during ${DUMP_ATTEMPTS} dumps`)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  #dumpOnce(type: number, parts: readonly Uint8Array[]): { type: number; payload: Buffer }[] | undefined {
    const seq = this.#send(type, NLM_F.DUMP, parts)
    const entries: { type: number; payload: Buffer }[] = []
    let interrupted = false
    for (;;) {
      for (const message of this.#receive(seq)) {
        if (message.flags & NLM_F.DUMP_INTR) interrupted = true
        if (message.type === NLMSG.ERROR) throw errorOf(message.payload, message.flags) ?? unexpectedAck()
        if (message.type !== NLMSG.DONE) {
          entries.push({ type: message.type, payload: Buffer.from(message.payload) })
          continue
        }
        const errno = message.payload.length >= 4 ? -message.payload.readInt32LE(0) : 0
        if (errno === constants.errno.EINTR) interrupted = true
        else if (errno !== 0) {
          const explained = readAttributes(message.payload.subarray(4)).get(NLMSGERR_ATTR_MSG)
          throw new Refusal(errno, explained === undefined ? '' : readText(explained))
        }
        return interrupted ? undefined : entries
      }
    }
  }

  #send(type: number, flags: number, parts: readonly Uint8Array[]): number {
    this.#seq = (this.#seq + 1) >>> 0
    const message = encodeMessage(type, flags | NLM_F.REQUEST, this.#seq, parts)
    retryInterrupted(() => writeSync(this.#fd, message))
    return this.#seq
  }

  /** Messages of the next datagram that answer `seq`; leftovers of a request given up earlier are dropped. */
  #receive(seq: number): Message[] {
    const length = retryInterrupted(() => readSync(this.#fd, this.#buffer))
    return [...decodeMessages(this.#buffer.subarray(0, length))].filter((message) => message.seq === seq)
  }
}

const retryInterrupted = (call: () => number): number => {
  for (;;) {
    try {
      return call()
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === constants.errno.EINTR) continue
      if (errno === constants.errno.EAGAIN) {
        throw new Refusal(constants.errno.ETIMEDOUT, `no answer of the kernel within ${RECEIVE_TIMEOUT_SECONDS} s`)
      }
      throw error
    }
  }
}
