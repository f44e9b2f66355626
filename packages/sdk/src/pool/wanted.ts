import { isIPv6 } from 'node:net'
import { z } from 'zod'
import { ipAddress, ipCidr } from '../domain/network.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import type { Pool } from './address-pools.ts'
import { offsetOf } from './subnet.ts'

const ips = z.array(z.union([ipCidr, ipAddress], 'an address with or without prefix length')).default([])

const refused = (field: string, address: string, why: string): OffloadError =>
  new OffloadError('INVALID_NETCONF', `${field}: ${address} cannot be given: ${why}`, {
    hint: 'Ask for one free address of the subnet per family.',
  })

/**
 * The offsets of the addresses that a request asks for, by the name of the pool that each is of.
 *
 * @param field - where they stand in the request
 * @throws OffloadError INVALID_NETCONF for an address that no pod of these pools can have
 */
export function wantedOffsets(pools: readonly Pool[], asked: unknown, field: string): Map<string, number> {
  const wanted = new Map<string, number>()
  for (const text of parseWith(ips, asked, field, 'INVALID_NETCONF')) {
    const [address = '', length] = text.split('/')
    const pool = pools.find(({ subnet }) => isIPv6(subnet.cidr.split('/')[0] ?? '') === isIPv6(address))
    if (pool === undefined) throw refused(field, text, 'there is no pool of its family')
    const { name, subnet, gatewayOffset } = pool
    const offset = offsetOf(subnet, address)
    if (offset < subnet.first || offset > subnet.last || offset === gatewayOffset)
      throw refused(field, text, `pods have other addresses of ${subnet.cidr}`)
    if (length !== undefined && Number(length) !== subnet.length)
      throw refused(field, text, `the prefix length of ${subnet.cidr} is ${subnet.length}`)
    if (wanted.has(name)) throw refused(field, text, `a pod has one address of ${subnet.cidr}`)
    wanted.set(name, offset)
  }
  return wanted
}
