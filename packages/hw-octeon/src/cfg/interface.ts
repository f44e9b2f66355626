import type { ConfigValue } from './libconfig-value.ts'
import { type AgentInterface, LIMITS, LINK_MODES } from './model.ts'
import type { GroupReader } from './reader.ts'

/** Addresses that were read already, and the function of each. */
export type MacRegister = Map<string, string>

const MAC_BYTES = 6
const MODES = [0, 2 ** LINK_MODES - 1] as const

/** Reads what is the same for physical and virtual functions. */
export function readInterface(reader: GroupReader, macs: MacRegister): AgentInterface {
  const whole = (name: string, range: readonly [number, number]): number => reader.whole(name, range, 0)
  return {
    mac: readMac(reader, macs),
    linkUp: whole('link_state', [0, 1]) === 1,
    rxUp: whole('rx_state', [0, 1]) === 1,
    autoneg: whole('autoneg', [0, 0b11]),
    pauseMode: whole('pause_mode', [0, 0b11]),
    speedMbps: whole('speed', LIMITS.speedMbps),
    supportedModes: whole('supported_modes', MODES),
    advertisedModes: whole('advertised_modes', MODES),
    pkind: whole('pkind', LIMITS.pkind),
  }
}

/** An address; an empty text where there is none that is right, which is told. */
function readMac(reader: GroupReader, macs: MacRegister): string {
  const setting = reader.setting('mac_addr')
  const wrong = (message: string): string => {
    reader.problem('mac_addr', message)
    return ''
  }
  if (setting === undefined) return wrong('is missing; without it the agent gives the host the address 00:00:00:00:00:00')
  const bytes = bytesOf(setting.value)
  if (bytes === undefined) return wrong('is no array of bytes; six are expected: mac_addr = [0x02, 0x00, 0x00, 0x00, 0x00, 0x01];')
  if (bytes.length < MAC_BYTES)
    return wrong(
      `has ${bytes.length} bytes, ${MAC_BYTES} are expected: the agent adds zeros at the end and would take ${macText([...bytes, 0, 0, 0, 0, 0, 0])}`,
    )
  if (bytes.length > MAC_BYTES) return wrong(`has ${bytes.length} bytes, ${MAC_BYTES} are expected: the agent reads over the rest`)
  const beyond = bytes.find((byte) => byte < 0 || byte > 0xff)
  if (beyond !== undefined) return wrong(`has the byte ${beyond}; 0 to 255 is expected, and the agent cuts off what is beyond`)
  const mac = macText(bytes)
  if (bytes.every((byte) => byte === 0)) return wrong(`is ${mac}, which is no address of anybody`)
  if (((bytes[0] ?? 0) & 1) === 1) return wrong(`is ${mac}, an address of a group: the first byte has to be even`)
  const other = macs.get(mac)
  if (other !== undefined) return wrong(`is ${mac}, as that of ${other}: each function needs its own`)
  macs.set(mac, reader.path)
  if (mac.startsWith('00:00:00:'))
    reader.problem('mac_addr', `is ${mac}, as in the configuration that comes with the agent: every such card has it`, 'warning')
  return mac
}

/** The agent takes an array and a list. */
function bytesOf(value: ConfigValue): number[] | undefined {
  if (value.kind !== 'array' && value.kind !== 'list') return undefined
  const numbers = value.items.map((item) => (item.kind === 'int' ? item.value : item.kind === 'int64' ? Number(item.value) : Number.NaN))
  return numbers.some(Number.isNaN) ? undefined : numbers
}

const macText = (bytes: readonly number[]): string =>
  bytes
    .slice(0, MAC_BYTES)
    .map((byte) => (byte & 0xff).toString(16).padStart(2, '0'))
    .join(':')
