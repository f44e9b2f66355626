import { OffloadError } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Kubectl } from '../kubectl/kubectl.ts'

/** Which key a node says that it sends with. */
export interface NodeKey {
  /** Name of the node. */
  readonly node: string
  /** SPI; 0 if it does not encrypt by IPsec. */
  readonly spi: number
}

const ciliumNodes = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ encryption: z.object({ key: z.int().min(0).optional() }).optional() }).optional(),
    }),
  ),
})

/** What the agents have written into their CiliumNodes. @throws KubectlError */
export async function nodeKeys(kubectl: Kubectl, signal: AbortSignal): Promise<NodeKey[]> {
  const { items } = await kubectl.json({ args: ['get', 'ciliumnodes.cilium.io'] }, ciliumNodes, signal)
  return items.map(({ metadata, spec }) => ({ node: metadata.name, spi: spec?.encryption?.key ?? 0 }))
}

/** `SPI 3 on a, b; none on c`. */
export function nodeKeysText(keys: readonly NodeKey[]): string {
  const bySpi = Map.groupBy(keys, ({ spi }) => spi)
  const parts = [...bySpi].map(([spi, nodes]) => `${spi === 0 ? 'none' : `SPI ${spi}`} on ${nodes.map(({ node }) => node).join(', ')}`)
  return parts.length === 0 ? 'no nodes' : parts.join('; ')
}

/** Whether some nodes still send with another key than others. Those that do not encrypt at all do not count. */
export function underWay(keys: readonly NodeKey[]): boolean {
  return new Set(keys.map(({ spi }) => spi).filter((spi) => spi !== 0)).size > 1
}

/**
 * Refuses a rotation while the last one is under way: a node that still sends with the key before it would not be understood when
 * that one goes.
 *
 * @param spi - of the key in the secret
 * @throws OffloadError NOT_READY
 */
export function assertSettled(keys: readonly NodeKey[], spi: number): void {
  const behind = keys.filter((one) => one.spi !== 0 && one.spi !== spi)
  if (behind.length === 0) return
  throw new OffloadError('NOT_READY', `the secret has SPI ${spi}, but nodes send with ${nodeKeysText(behind)}: a rotation is under way`, {
    hint: 'Wait until "offload ipsec status" tells the same SPI for all nodes; --force rotates nevertheless.',
  })
}
