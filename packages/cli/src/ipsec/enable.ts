import { describeKey, formatKey, generateKey, type KeyChoice } from '@cni-offload/adapter-cilium/ipsec'
import { stringify } from 'yaml'
import { SECRET_NAME, secretManifest, type SecretPlace, SecretStore, secretText } from './secret.ts'
import type { Kubectl } from '../kubectl/kubectl.ts'

/** What is enabled. */
export interface Enable {
  /** Where the secret is made. */
  readonly place: SecretPlace
  /** Which key. */
  readonly choice: KeyChoice
}

/** What stands in place of a key that is not to be seen. */
const HIDDEN = '(a new key; --show-key shows it)'

/** The manifest that would be applied, as YAML. @param showKey - whether with a key: then a new one, each time */
export function dryRun({ place, choice }: Enable, showKey: boolean): string {
  const key = generateKey(choice)
  return `# ${describeKey(key)}\n${stringify(secretManifest(place, showKey ? formatKey(key) : HIDDEN))}`
}

/**
 * Makes a key and the secret in the cluster, unless there is one.
 *
 * @returns what to do next
 * @throws KubectlError; OffloadError ALREADY_EXISTS
 */
export async function enable(kubectl: Kubectl, { place, choice }: Enable, signal: AbortSignal): Promise<string> {
  const store = new SecretStore(kubectl, place)
  const key = generateKey(choice)
  await store.create(key, signal)
  return [
    `${secretText(place)} made: ${describeKey(key)}`,
    '',
    'Set these Helm values of Cilium, for the agents of the DPUs as for all others:',
    '  encryption.enabled=true',
    '  encryption.type=ipsec',
    ...(place.name === SECRET_NAME ? [] : [`  encryption.ipsec.secretName=${place.name}`]),
    '',
    'On a DPU with a crypto engine, load its driver before the agent starts. Then restart the agents, and see "offload ipsec verify".',
  ].join('\n')
}
