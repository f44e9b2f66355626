import type { Lab } from '../../lab/lab.ts'
import { askCilium } from '../../lab/ask-cilium.ts'
import type { LabCilium } from '../../lab/model.ts'
import type { DemoCheck } from '../report.ts'

/** What the agent of each node says of the encryption between nodes. The demo wants to know, whatever it is. */
export async function encryptionChecks(lab: Lab): Promise<DemoCheck[]> {
  return await Promise.all(lab.state.nodes.flatMap(({ name, cilium }) => (cilium === undefined ? [] : [encryptionCheck(name, cilium)])))
}

async function encryptionCheck(node: string, cilium: LabCilium): Promise<DemoCheck> {
  const { encryption } = await askCilium(cilium, (client, caller) => client.health(caller, false))
  const mode = encryption?.mode ?? undefined
  return { name: `encryption between nodes, as cilium-agent of ${node} tells it`, ok: mode !== undefined, seen: describe(mode) }
}

function describe(mode: string | undefined): string {
  if (mode === undefined) return 'it does not say'
  return mode === 'Disabled' ? 'not encrypted (mode Disabled)' : `mode ${mode}`
}
