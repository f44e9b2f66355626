import { isIPv6 } from 'node:net'

/** Bytes of a MAC address. */
export function macBytes(mac: string): Uint8Array {
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

/** Bytes of an address; a prefix length is passed over. */
export function ipBytes(text: string): Uint8Array {
  const [address = ''] = text.split('/')
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number))
  const host = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = '', tail = ''] = host.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

/** The link-local address that an interface makes of its MAC (RFC 4291, appendix A). */
export function linkLocal(mac: string): Uint8Array {
  const octets = macBytes(mac)
  const [first = 0, ...rest] = octets
  return Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, first ^ 0x02, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)])
}
