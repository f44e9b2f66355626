import { OffloadError } from '@cni-offload/sdk'
import type { EncryptionStatus } from '../api/schemas.ts'

/** What is known of the encryption of one node. */
export interface NodeStatus {
  /** Name of the node, where it was told. */
  readonly node?: string
  /** `IPsec`, `Disabled`, `Wireguard`, …; undefined where the agent could not be asked. */
  readonly mode?: string
  /** What is wrong. */
  readonly message?: string
  /** Devices at which packets are decrypted. */
  readonly interfaces?: readonly string[]
  /** Different keys in the kernel. */
  readonly keysInUse?: number
  /** Highest sequence number that was sent; 0 before the first packet. */
  readonly sequence?: bigint
  /** Errors of the kernel's IPsec since the boot. */
  readonly errors?: number
  /** Those errors that occurred, by name. */
  readonly xfrmErrors?: Readonly<Record<string, number>>
  /** How many keys there should be, by cilium-cli's reckoning. */
  readonly expectedKeys?: number
  /** Whether there are others, which cilium-cli takes for a rotation. */
  readonly rotating?: boolean
}

/** What is known of all nodes together. */
export interface ClusterStatus {
  /** How many nodes there are. */
  readonly nodes: number
  /** How many of them have which mode. */
  readonly modes: Readonly<Record<string, number>>
  /** How many of them have how many keys. */
  readonly keysInUse: readonly { readonly keys: number; readonly nodes: number }[]
  /** Highest sequence number of all. */
  readonly sequence?: bigint
  /** Errors of all. */
  readonly errors?: number
  /** Those errors that occurred, by name. */
  readonly xfrmErrors: Readonly<Record<string, number>>
  /** How many keys each should have, by cilium-cli's reckoning. */
  readonly expectedKeys?: number
  /** Whether some have others, which cilium-cli takes for a rotation. */
  readonly rotating?: boolean
}

/**
 * The sequence number in `0x1e3/0xffffffff`; 0 for `N/A`.
 *
 * @throws OffloadError UNDECODABLE
 */
export function parseSequence(text: string, what = 'max-seq-number'): bigint {
  if (text === 'N/A' || text === '') return 0n
  const found = /^(0x[0-9a-fA-F]{1,16})(\/0x[0-9a-fA-F]{1,16})?$/.exec(text)?.[1]
  if (found !== undefined) return BigInt(found)
  throw new OffloadError('UNDECODABLE', `${what} = ${JSON.stringify(text)}: 0x…/0x… or N/A is expected`)
}

/** The same in the words of this package. @throws OffloadError UNDECODABLE if the sequence number is none */
export function nodeStatus({ mode, msg, ipsec }: EncryptionStatus): NodeStatus {
  return {
    ...((mode ?? '') === '' ? {} : { mode: mode ?? '' }),
    ...((msg ?? '') === '' ? {} : { message: msg ?? '' }),
    ...(ipsec === null || ipsec === undefined
      ? {}
      : {
          interfaces: ipsec['decrypt-interfaces'] ?? [],
          // Go leaves out what is 0.
          keysInUse: ipsec['keys-in-use'] ?? 0,
          errors: ipsec['error-count'] ?? 0,
          xfrmErrors: ipsec['xfrm-errors'] ?? {},
          sequence: parseSequence(ipsec['max-seq-number'] ?? ''),
        }),
  }
}
