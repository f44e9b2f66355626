import type { ConfigScalar } from './libconfig-value.ts'

type ConfigNumber = Extract<ConfigScalar, { kind: 'int' | 'int64' | 'float' }>

const FLOAT = /^[-+]?(?:\d*\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$/
const INTEGER = /^(?<sign>[-+]?)(?<digits>\d+)(?<long>L{0,2})$/
const HEX = /^(?<digits>0[xX][0-9A-Fa-f]+)(?<long>L{0,2})$/

const LEAST = -(2n ** 63n)
const MOST = 2n ** 63n - 1n

/**
 * A number as libconfig 1.7.2 takes it: hexadecimal ones have no sign and fill the bits that they have, `0xffffffff` is -1; decimal
 * ones that need more than 32 bits are 64-bit ones also without the suffix `L`.
 *
 * @returns the number, or what is wrong with it, to follow the text in a message
 */
export function parseNumber(text: string): ConfigNumber | string {
  const hex = HEX.exec(text)?.groups
  if (hex !== undefined) return hexadecimal(hex['digits'] ?? '', hex['long'] !== '')
  const decimal = INTEGER.exec(text)?.groups
  if (decimal !== undefined) return integer(decimal['sign'] ?? '', decimal['digits'] ?? '', decimal['long'] !== '')
  // What is no number at all for the scanner would be one for atof, which takes a lone dot for 0.
  if (FLOAT.test(text) && /\d/.test(text)) return { kind: 'float', value: Number(text) }
  return 'is not a number'
}

function hexadecimal(digits: string, long: boolean): ConfigNumber | string {
  const value = BigInt(digits)
  if (value > (long ? 2n ** 64n - 1n : 0xffff_ffffn)) return `needs more than ${long ? '64 bits' : '32 bits: append L'}`
  if (long) return { kind: 'int64', value: BigInt.asIntN(64, value), hex: true }
  return { kind: 'int', value: Number(BigInt.asIntN(32, value)), hex: true }
}

function integer(sign: string, digits: string, long: boolean): ConfigNumber | string {
  // strtoll reads it in base 8: with a suffix, which is read by atoll, in base 10. Nobody means either.
  if (digits.length > 1 && digits.startsWith('0')) return 'has a leading zero, which libconfig takes for base 8'
  const value = BigInt(digits) * (sign === '-' ? -1n : 1n)
  if (value < LEAST || value > MOST) return 'needs more than 64 bits'
  const fits = BigInt.asIntN(32, value) === value
  return fits && !long ? { kind: 'int', value: Number(value), hex: false } : { kind: 'int64', value, hex: false }
}
