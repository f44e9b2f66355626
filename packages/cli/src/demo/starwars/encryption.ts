import { type Encrypted, readNode, type Statement, stateNode } from '@cni-offload/adapter-cilium/ipsec'
import { askCilium } from '../../lab/ask-cilium.ts'
import type { Lab } from '../../lab/lab.ts'
import type { LabCilium } from '../../lab/model.ts'
import type { DemoCheck } from '../report.ts'

const WORDS: Readonly<Record<Encrypted, string>> = {
  yes: 'encrypted',
  no: 'not encrypted',
  partly: 'only partly encrypted',
  unknown: 'not known whether it is encrypted',
}

/** Whether traffic between nodes is encrypted, as far as the agent of each node shows it. The demo wants an answer, whatever it is. */
export async function encryptionChecks(lab: Lab): Promise<DemoCheck[]> {
  return await Promise.all(lab.state.nodes.flatMap(({ name, cilium }) => (cilium === undefined ? [] : [encryptionCheck(name, cilium)])))
}

async function encryptionCheck(node: string, cilium: LabCilium): Promise<DemoCheck> {
  // A brief status says nothing of encryption.
  const { encryption } = await askCilium(cilium, (client, caller) => client.health(caller, false))
  const statement = stateNode(node, await readNode({ agent: { from: 'GET /healthz', read: () => encryption } }))
  return {
    name: `encryption between nodes, as cilium-agent of ${node} tells it`,
    ok: statement.encrypted.answer !== 'unknown',
    seen: describe(statement),
  }
}

function describe({ encrypted, evidence }: Statement): string {
  const shown = evidence.map(({ what, value, from }) => `${what} ${value}, ${from}`).join('; ')
  return `${WORDS[encrypted.answer]}: ${encrypted.because} (${shown})`
}
