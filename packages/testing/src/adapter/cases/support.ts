import assert from 'node:assert/strict'
import type { AttachResult } from '@cni-offload/sdk'
import { reaches } from '../../net/ping.ts'
import { addressesOf, type Session } from '../session.ts'

/** The numbers from 0 to `count - 1`. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

/** Asserts that a pod reaches all addresses, or none of them. */
export async function assertReach(session: Session, from: number, addresses: readonly string[], should: boolean): Promise<void> {
  const netns = session.port(from).pod.path
  const answers = await Promise.all(addresses.map((address) => reaches(netns, address, { withinSeconds: should ? 3 : 1 })))
  for (const [index, address] of addresses.entries()) assert.equal(answers[index], should, `whether pod ${from} reaches ${address}`)
}

/** Asserts that no two results have an address in common. */
export function assertUnique(results: readonly AttachResult[]): void {
  const addresses = results.flatMap(addressesOf)
  assert.equal(new Set(addresses).size, addresses.length, `no two of ${addresses.join(', ')} are equal`)
}
