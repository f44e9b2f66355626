import { constants } from 'node:os'
import { Refusal } from '../native/errno.ts'
import { formatIp } from '../netlink/address.ts'
import { readAttributes, readText } from '../netlink/codec.ts'
import { AF } from '../netlink/constants.ts'

/** A security association of the kernel: what it encrypts or decrypts one direction between two nodes with. Never its keys. */
export interface SecurityAssociation {
  /** Tunnel address of the sender. */
  readonly source: string
  /** Tunnel address of the receiver. */
  readonly destination: string
  /** Number of the key in the packets. */
  readonly spi: number
  /** Number that ties it to policies; Cilium's have 1. */
  readonly requestId: number
  /** Names of its algorithms as the crypto layer has them, without IV generator: `rfc4106(gcm(aes))`, `authenc(hmac(sha256),cbc(aes))`. */
  readonly algorithm: string
  /** Packets that went through it. */
  readonly packets: bigint
  /** Bytes that went through it. */
  readonly bytes: bigint
  /** Highest sequence number that it has sent; 0 for one that receives. */
  readonly sent: bigint
  /** Since when it is there, seconds since 1970. */
  readonly addedAt: number
  /** What a device does of it: the whole packet, or its encryption only; nothing by default. */
  readonly offload: 'packet' | 'crypto' | 'none'
}

// struct xfrm_usersa_info of linux/xfrm.h: sizes and offsets are the same for all 64-bit kernels.
const INFO_BYTES = 224
const AT = {
  destination: 56,
  spi: 72,
  source: 80,
  bytes: 160,
  packets: 168,
  addTime: 176,
  requestId: 208,
  family: 212,
  flags: 216,
} as const
const ESN = 128

const XFRMA = { ALG_AUTH: 1, ALG_CRYPT: 2, REPLAY_VAL: 10, ALG_AEAD: 18, ALG_AUTH_TRUNC: 20, REPLAY_ESN_VAL: 23, OFFLOAD_DEV: 28 } as const
const OFFLOAD_PACKET = 4
const NAME_BYTES = 64

/** Decodes the payload of XFRM_MSG_NEWSA; keys are passed over. @throws Refusal EBADMSG if it is too short */
export function decodeAssociation(payload: Buffer): SecurityAssociation {
  if (payload.length < INFO_BYTES) throw new Refusal(constants.errno.EBADMSG, `security association of ${payload.length} bytes`)
  const attributes = readAttributes(payload.subarray(INFO_BYTES))
  const length = payload.readUInt16LE(AT.family) === AF.INET6 ? 16 : 4
  const address = (at: number): string => formatIp(payload.subarray(at, at + length))
  const name = (type: number): string | undefined => {
    const data = attributes.get(type)
    return data === undefined ? undefined : readText(data.subarray(0, NAME_BYTES))
  }
  return {
    source: address(AT.source),
    destination: address(AT.destination),
    spi: payload.readUInt32BE(AT.spi),
    requestId: payload.readUInt32LE(AT.requestId),
    algorithm: name(XFRMA.ALG_AEAD) ?? combined(payload.readUInt8(AT.flags), name),
    packets: payload.readBigUInt64LE(AT.packets),
    bytes: payload.readBigUInt64LE(AT.bytes),
    sent: sentOf(attributes),
    addedAt: Number(payload.readBigUInt64LE(AT.addTime)),
    offload: offloadOf(attributes.get(XFRMA.OFFLOAD_DEV)),
  }
}

/** As the kernel puts the two names together when it asks the crypto layer for them. */
function combined(flags: number, name: (type: number) => string | undefined): string {
  const auth = name(XFRMA.ALG_AUTH_TRUNC) ?? name(XFRMA.ALG_AUTH) ?? 'digest_null'
  const cipher = name(XFRMA.ALG_CRYPT) ?? 'ecb(cipher_null)'
  return `authenc${(flags & ESN) === 0 ? '' : 'esn'}(${auth},${cipher})`
}

function sentOf(attributes: ReadonlyMap<number, Buffer>): bigint {
  const extended = attributes.get(XFRMA.REPLAY_ESN_VAL)
  // bmp_len, oseq, seq, oseq_hi
  if (extended !== undefined && extended.length >= 16) return (BigInt(extended.readUInt32LE(12)) << 32n) | BigInt(extended.readUInt32LE(4))
  const simple = attributes.get(XFRMA.REPLAY_VAL)
  return simple !== undefined && simple.length >= 4 ? BigInt(simple.readUInt32LE(0)) : 0n
}

function offloadOf(device: Buffer | undefined): SecurityAssociation['offload'] {
  if (device === undefined || device.length < 5) return 'none'
  return (device.readUInt8(4) & OFFLOAD_PACKET) === 0 ? 'crypto' : 'packet'
}
