import { OffloadError } from '@cni-offload/sdk'

/** Where a PCI function sits. */
export interface PciAddress {
  /** Domain; up to 32 bits: domains that software makes (VMD, hypervisors) begin above 0xffff. */
  readonly domain: number
  /** Bus, 0–255. */
  readonly bus: number
  /** Device on the bus, 0–31. */
  readonly device: number
  /** Function of the device, 0–7. */
  readonly function: number
}

const FORM = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i

const numbers = (text: string): PciAddress | undefined => {
  const [, domain = '0', bus, device, fn] = FORM.exec(text) ?? []
  if (bus === undefined || device === undefined || fn === undefined) return undefined
  return { domain: parseInt(domain, 16), bus: parseInt(bus, 16), device: parseInt(device, 16), function: parseInt(fn, 16) }
}

/** Whether a text is a PCI address as {@link parsePciAddress} takes it. */
export function isPciAddress(text: string): boolean {
  return numbers(text) !== undefined
}

/**
 * Reads `0002:01:00.1`; without a domain, as lspci prints it where there is only one, it is domain 0.
 *
 * @param what - how the value is called in the message
 * @throws OffloadError INVALID_CONFIG
 */
export function parsePciAddress(text: string, what: string = 'PCI address'): PciAddress {
  const address = numbers(text)
  if (address !== undefined) return address
  throw new OffloadError('INVALID_CONFIG', `${what} = ${JSON.stringify(text)}: no PCI address`, {
    hint: 'The form is DOMAIN:BUS:DEVICE.FUNCTION in hexadecimal digits, for example 0002:01:00.1; `lspci -D` lists them.',
  })
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** As the kernel writes it: lower case, the domain with at least four digits. */
export function formatPciAddress({ domain, bus, device, function: fn }: PciAddress): string {
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(device, 2)}.${fn}`
}

/**
 * Order of two addresses by their numbers: as texts, `10000:…` would come before `2000:…`.
 *
 * @throws OffloadError INVALID_CONFIG
 */
export function comparePciAddresses(a: string, b: string): number {
  const [left, right] = [parsePciAddress(a), parsePciAddress(b)]
  return left.domain - right.domain || left.bus - right.bus || left.device - right.device || left.function - right.function
}
