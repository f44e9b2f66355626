import { constants } from 'node:os'
import { Refusal } from '../native/errno.ts'

const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff
const ATTRIBUTE_HEADER = 4
/** Length of a netlink message header in bytes. */
export const MESSAGE_HEADER = 16

const aligned = (length: number): number => (length + 3) & ~3

/** A netlink message without its header. */
export interface Message {
  readonly type: number
  readonly flags: number
  readonly seq: number
  readonly payload: Buffer
}

/** One attribute: header, data, padding to four bytes. @throws Refusal EMSGSIZE beyond 65,531 bytes of data */
export function attribute(type: number, data: Uint8Array): Buffer {
  const length = ATTRIBUTE_HEADER + data.length
  if (length > 0xffff) throw new Refusal(constants.errno.EMSGSIZE, `attribute ${type} of ${data.length} bytes`)
  const encoded = Buffer.alloc(aligned(length))
  encoded.writeUInt16LE(length, 0)
  encoded.writeUInt16LE(type, 2)
  encoded.set(data, ATTRIBUTE_HEADER)
  return encoded
}

/** An attribute whose data are attributes. */
export function nested(type: number, children: readonly Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(children))
}

/** Data of a 32-bit unsigned attribute. */
export function uint32(value: number): Buffer {
  const data = Buffer.alloc(4)
  data.writeUInt32LE(value >>> 0)
  return data
}

/** Data of a NUL-terminated text attribute. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

/** Reads text up to its first NUL. */
export function readText(data: Buffer): string {
  const end = data.indexOf(0)
  return data.toString('utf8', 0, end < 0 ? data.length : end)
}

/**
 * Attributes by type; the nested and byte-order bits of the type are dropped, of equal types the last one wins. Reading
 * stops at the first attribute that does not fit.
 */
export function readAttributes(data: Buffer): Map<number, Buffer> {
  return new Map(eachAttribute(data))
}

/** Type and data of every attribute in order, as {@link readAttributes} reads them; for lists, where types repeat. */
export function* eachAttribute(data: Buffer): Generator<[type: number, data: Buffer]> {
  let at = 0
  while (at + ATTRIBUTE_HEADER <= data.length) {
    const length = data.readUInt16LE(at)
    if (length < ATTRIBUTE_HEADER || at + length > data.length) break
    yield [data.readUInt16LE(at + 2) & NLA_TYPE_MASK, data.subarray(at + ATTRIBUTE_HEADER, at + length)]
    at += aligned(length)
  }
}

/** A whole message: header, fixed part, attributes. */
export function encodeMessage(type: number, flags: number, seq: number, parts: readonly Uint8Array[]): Buffer {
  const message = Buffer.concat([Buffer.alloc(MESSAGE_HEADER), ...parts])
  message.writeUInt32LE(message.length, 0)
  message.writeUInt16LE(type, 4)
  message.writeUInt16LE(flags, 6)
  message.writeUInt32LE(seq, 8)
  return message
}

/** Messages of one datagram. The payloads share the given memory. @throws Refusal EBADMSG if a length is impossible */
export function* decodeMessages(data: Buffer): Generator<Message> {
  let at = 0
  while (at < data.length) {
    const length = at + MESSAGE_HEADER <= data.length ? data.readUInt32LE(at) : 0
    if (length < MESSAGE_HEADER || at + length > data.length) {
      throw new Refusal(constants.errno.EBADMSG, `netlink message of ${length} bytes at ${at} in a datagram of ${data.length}`)
    }
    yield {
      type: data.readUInt16LE(at + 4),
      flags: data.readUInt16LE(at + 6),
      seq: data.readUInt32LE(at + 8),
      payload: data.subarray(at + MESSAGE_HEADER, at + length),
    }
    at += aligned(length)
  }
}
