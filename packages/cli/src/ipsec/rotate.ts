import { assertChange, describeKey, rotateKey } from '@cni-offload/adapter-cilium/ipsec'
import { OffloadError } from '@cni-offload/sdk'
import type { Kubectl } from '../kubectl/kubectl.ts'
import { assertSettled, nodeKeys, nodeKeysText } from './rotation-progress.ts'
import { type SecretPlace, SecretStore, secretText } from './secret.ts'

/** What is rotated. */
export interface Rotate {
  /** Where the secret is. */
  readonly place: SecretPlace
  /** Whether also while the last rotation is, or may be, under way. */
  readonly force: boolean
  /** Whether nothing is written. */
  readonly dryRun: boolean
}

/** What a rotation did, or would do. */
export interface Rotation {
  /** SPI that nodes send with now. */
  readonly from: number
  /** SPI of the new key. */
  readonly to: number
  /** All of it, and what to wait for. */
  readonly text: string
}

/**
 * Puts the next key into the secret.
 *
 * @throws KubectlError, `conflict` if somebody else changes the secret meanwhile; OffloadError NOT_FOUND without a secret, NOT_READY while
 * a rotation is under way, INVALID_CONFIG for a key that is none
 */
export async function rotate(kubectl: Kubectl, { place, force, dryRun }: Rotate, signal: AbortSignal): Promise<Rotation> {
  const store = new SecretStore(kubectl, place)
  const stored = await store.find(signal)
  if (stored === undefined)
    throw new OffloadError('NOT_FOUND', `${secretText(place)} is not there`, {
      hint: 'The first key is made by "offload ipsec enable"; another namespace is named by --namespace.',
    })
  const nodes = force ? undefined : await nodeKeys(kubectl, signal)
  if (nodes !== undefined) assertSettled(nodes, stored.key.spi)
  const next = rotateKey(stored.key)
  assertChange(stored.key, next)
  if (!dryRun) await store.replace(stored, next, signal)
  const { spi: from } = stored.key
  const text = [
    `${secretText(place)}: SPI ${from} ${dryRun ? 'would become' : '→'} ${next.spi} (${describeKey(next)})`,
    ...(nodes === undefined ? [] : [`nodes send with: ${nodeKeysText(nodes)}`]),
    '',
    `Agents see the new key within some minutes; wait until "offload ipsec status" tells SPI ${next.spi} for all nodes. They drop the old one`,
    'after encryption.ipsec.keyRotationDuration, 5 minutes by default: do not restart, upgrade or rotate before. With',
    'encryption.ipsec.keyWatcher=false they have to be restarted.',
  ].join('\n')
  return { from, to: next.spi, text }
}
