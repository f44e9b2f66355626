import { formatKey, type IpsecKey, parseKeys } from '@cni-offload/adapter-cilium/ipsec'
import { OffloadError } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Kubectl, KubectlCall } from '../kubectl/kubectl.ts'
import { KubectlError } from '../kubectl/kubectl-error.ts'

/** Name of the secret that Cilium mounts unless `encryption.ipsec.secretName` says otherwise. */
export const SECRET_NAME = 'cilium-ipsec-keys'

/** Where the secret is. */
export interface SecretPlace {
  /** Namespace of Cilium. */
  readonly namespace: string
  /** Name of the secret. */
  readonly name: string
}

/** A secret as the API server gives it, as far as it is looked at; all else of it is kept. */
export interface SecretObject {
  /** Its version, by which the API server notices that somebody else has changed it. */
  readonly metadata: { readonly resourceVersion: string }
  /** Content, in base64. */
  readonly data?: Readonly<Record<string, string>> | undefined
  /** Whether it can be changed. */
  readonly immutable?: boolean | undefined
}

const secretObject: z.ZodType<SecretObject> = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string().min(1) }),
  data: z.record(z.string(), z.base64()).optional(),
  immutable: z.boolean().optional(),
})

/** The secret as the API server has it. Everything but the key is written back as it was. */
export interface StoredSecret {
  /** Key that agents use: the last line. */
  readonly key: IpsecKey
  /** The whole object. */
  readonly object: SecretObject
}

/** Name of the file that Cilium reads (`encryption.ipsec.keyFile`). */
const FIELD = 'keys'

/** How the secret is called in messages. */
export function secretText({ namespace, name }: SecretPlace): string {
  return `secret ${namespace}/${name}`
}

/** The manifest. @param line - content of `keys` */
export function secretManifest({ namespace, name }: SecretPlace, line: string): Readonly<Record<string, unknown>> {
  return { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata: { namespace, name }, stringData: { [FIELD]: line } }
}

/** The secret in the cluster. Keys go to kubectl by its standard input only. */
export class SecretStore {
  readonly #kubectl: Kubectl
  readonly #place: SecretPlace

  /** Asks nothing yet. */
  constructor(kubectl: Kubectl, place: SecretPlace) {
    this.#kubectl = kubectl
    this.#place = place
  }

  /**
   * Reads it.
   *
   * @returns undefined if it is not there
   * @throws KubectlError; OffloadError INVALID_CONFIG that says what is wrong with its key, and never the key
   */
  async find(signal: AbortSignal): Promise<StoredSecret | undefined> {
    const text = await this.#read(signal)
    if (text === undefined) return undefined
    const what = secretText(this.#place)
    const object = decoded(text, what)
    const content = object.data?.[FIELD]
    if (content === undefined)
      throw new OffloadError('INVALID_CONFIG', `${what}: data.${FIELD} is missing`, {
        hint: 'Delete the secret and make it anew with "offload ipsec enable".',
      })
    return { key: parseKeys(Buffer.from(content, 'base64').toString('utf8'), `${what}, ${FIELD}`).at(-1) ?? unreachable(), object }
  }

  /** Makes it. @throws KubectlError; OffloadError ALREADY_EXISTS if it is there, whoever was faster */
  async create(key: IpsecKey, signal: AbortSignal): Promise<void> {
    const input = JSON.stringify(secretManifest(this.#place, formatKey(key)))
    try {
      await this.#write({ args: ['create', '-f', '-'], input }, key, signal)
    } catch (error) {
      if (!(error instanceof KubectlError) || error.kind !== 'exists') throw error
      throw new OffloadError('ALREADY_EXISTS', `${secretText(this.#place)} is there already; nothing was changed`, {
        cause: error,
        hint: 'A running cluster gets a new key by "offload ipsec rotate".',
      })
    }
  }

  /**
   * Puts another key in the place of all that were there, if nobody has changed the secret since it was read.
   *
   * @throws KubectlError `conflict` if somebody has
   */
  async replace({ object }: StoredSecret, key: IpsecKey, signal: AbortSignal): Promise<void> {
    if (object.immutable === true)
      throw new OffloadError('INVALID_CONFIG', `${secretText(this.#place)}: immutable = true`, {
        hint: 'A key that cannot be changed cannot be rotated: make the secret anew, and let the agents restart.',
      })
    // Only the new line: agents refuse a file in which the key that they have comes again.
    const data = { ...object.data, [FIELD]: Buffer.from(`${formatKey(key)}\n`).toString('base64') }
    await this.#write({ args: ['replace', '-f', '-'], input: JSON.stringify({ ...object, data }) }, key, signal)
  }

  async #read(signal: AbortSignal): Promise<string | undefined> {
    const { namespace, name } = this.#place
    try {
      return await this.#kubectl.run({ args: ['get', 'secret', name, '-n', namespace, '-o', 'json'] }, signal)
    } catch (error) {
      if (error instanceof KubectlError && error.kind === 'not-found') return undefined
      throw error
    }
  }

  /** What the API server, or who it asks for admission, says to a manifest may quote it. */
  async #write(call: KubectlCall, key: IpsecKey, signal: AbortSignal): Promise<void> {
    try {
      await this.#kubectl.run(call, signal)
    } catch (error) {
      if (!(error instanceof KubectlError) || (error.kind !== 'failed' && !quotes(error.message, key))) throw error
      const { kind, exitCode } = error
      const message = `kubectl ${call.args.join(' ')}: exit code ${exitCode}; what it said is not shown, it may hold the key`
      throw new KubectlError(message, { kind, ...(exitCode === undefined ? {} : { exitCode }) })
    }
  }
}

/** This many characters of a key in a row are no coincidence. */
const TELLING = 12

/** Whether a text holds a part of a key, as the line has it or in base64. */
function quotes(text: string, key: IpsecKey): boolean {
  const line = formatKey(key)
  const digits = line.split(' ').filter((field) => /^[0-9a-f]{16,}$/.test(field))
  return [...digits, Buffer.from(line).toString('base64')].some((secret) =>
    Array.from({ length: secret.length - TELLING + 1 }, (_, at) => secret.slice(at, at + TELLING)).some((part) => text.includes(part)),
  )
}

/** A message of a decoder would quote the secret. */
function decoded(text: string, what: string): SecretObject {
  let object: unknown
  try {
    object = JSON.parse(text)
  } catch {
    throw new OffloadError('UNDECODABLE', `${what}: kubectl printed no JSON`)
  }
  const { data, error } = secretObject.safeParse(object)
  if (data !== undefined) return data
  const fields = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new OffloadError('UNDECODABLE', `${what}: ${fields.join('; ')}`)
}

const unreachable = (): never => {
  throw new OffloadError('INTERNAL', 'a secret without a key was read')
}
