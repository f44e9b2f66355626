import { Client, credentials, Metadata, type ServiceDefinition } from '@grpc/grpc-js'
import type { TlsFiles } from '../../src/index.ts'
import { readPem, type Release, serviceOf } from './releases.ts'

/** A host of another release: it asks with the messages of its own description, and gets answers read by it. */
export class OtherHost implements Disposable {
  readonly release: Release
  readonly #client: Client
  readonly #service: ServiceDefinition

  private constructor(release: Release, client: Client, service: ServiceDefinition) {
    this.release = release
    this.#client = client
    this.#service = service
  }

  /** @param address - `tcp://host:port` or `unix:/path` */
  static async connect(release: Release, address: string, tls: TlsFiles): Promise<OtherHost> {
    const { ca, cert, key } = await readPem(tls)
    // Whose certificate it is is no matter of versions.
    const secured = credentials.createSsl(ca, key, cert, { checkServerIdentity: () => undefined })
    return new OtherHost(release, new Client(address.replace('tcp://', ''), secured), await serviceOf(release))
  }

  /** One call that is answered once. Rejects with the gRPC error. */
  ask(method: string, request: object): Promise<any> {
    const { path, requestSerialize, responseDeserialize } = this.#method(method)
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, this.#metadata(), (error, reply) =>
        error === null ? resolve(reply) : reject(error),
      )
    })
  }

  /** All that the agent has. */
  async list(): Promise<any[]> {
    const { path, requestSerialize, responseDeserialize } = this.#method('List')
    return await Array.fromAsync(
      this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {}, this.#metadata()) as AsyncIterable<any>,
    )
  }

  /** One resync that names these attachments. */
  async resync(wired: readonly object[]): Promise<any[]> {
    const stream = this.stream('Resync')
    wired.forEach((one, at) => stream.write({ wired: one, remaining: wired.length - at }))
    stream.write({ complete: true, remaining: 0 })
    stream.end()
    return await Array.fromAsync(stream as AsyncIterable<any>)
  }

  /** A call that streams both ways. */
  stream(method: string): any {
    const { path, requestSerialize, responseDeserialize } = this.#method(method)
    return this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, this.#metadata())
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }

  #method(name: string): ServiceDefinition[string] {
    const method = this.#service[name]
    if (method === undefined) throw new Error(`the ${this.release} release has no ${name}`)
    return method
  }

  #metadata(): Metadata {
    const metadata = new Metadata()
    metadata.set('offload-severity', 'of a release to come')
    return metadata
  }
}
