import { connect as tcpConnect, type Socket } from 'node:net'
import { connect as tlsConnect, createSecureContext, type PeerCertificate, type SecureContext } from 'node:tls'
import { OffloadError } from '@cni-offload/sdk'
import { CallCredentials, ChannelCredentials, type experimental } from '@grpc/grpc-js'
import type { Address } from '../address.ts'
import type { PeerIdentity } from '../api.ts'
import { identityFromSan, identityUri } from '../identity.ts'
import { ownProblem, type TlsMaterial } from './files.ts'

/** Settings of {@link ReloadableChannelCredentials}. */
export interface ChannelCredentialsOptions {
  /** Where the channel connects to. */
  readonly address: Address
  /** Who has to be at the other end. */
  readonly expected: PeerIdentity
  /** Own certificates. */
  readonly material: TlsMaterial
  /** How long TCP and TLS may take to connect, each, in milliseconds. */
  readonly connectTimeoutMs: number
  /** Told what went wrong with each connection that could not be made or was refused by the peer. */
  onFailure(error: Error): void
}

/**
 * Client side of mTLS with certificates that can be replaced while the channel lives, and with bounded waits.
 *
 * Left alone, grpc-js waits for the kernel to give up on TCP (two minutes, while a peer that is back goes unnoticed) and
 * for TLS for ever. So TCP is tried first, with a limit, and the TLS handshake has the same limit.
 */
export class ReloadableChannelCredentials extends ChannelCredentials {
  #material: TlsMaterial
  #context: SecureContext
  #unconfirmed: Socket | undefined
  readonly #options: ChannelCredentialsOptions
  readonly #calls: CallCredentials = CallCredentials.createEmpty()

  constructor(options: ChannelCredentialsOptions) {
    super()
    this.#options = options
    this.#material = options.material
    this.#context = createSecureContext(options.material.options)
  }

  /** Uses other certificates for connections made from now on. */
  replace(material: TlsMaterial): void {
    this.#material = material
    this.#context = createSecureContext(material.options)
  }

  /** The newest connection works: the peer has accepted our certificate. */
  confirm(): void {
    this.#unconfirmed = undefined
  }

  override _isSecure(): boolean {
    return true
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other
  }

  override _createSecureConnector(): experimental.SecureConnector {
    const pending = new Set<Socket>()
    const reported = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work
      } catch (error) {
        this.#options.onFailure(error instanceof Error ? error : new Error(String(error)))
        throw error
      }
    }
    return {
      waitForReady: () => reported(this.#probe(pending)),
      connect: (socket) => reported(this.#secure(socket, pending)),
      getCallCredentials: () => this.#calls,
      destroy() {
        for (const socket of pending) socket.destroy()
      },
    }
  }

  /** Resolves when TCP connects, so that the connection that follows is not left to the kernel's patience. */
  #probe(pending: Set<Socket>): Promise<void> {
    const { address, connectTimeoutMs } = this.#options
    return this.#bounded(pending, tcpConnect(address.connect), 'connect', `no answer to TCP within ${connectTimeoutMs} ms`, (socket) => {
      socket.destroy()
    })
  }

  #secure(raw: Socket, pending: Set<Socket>): Promise<experimental.SecureConnectResult> {
    const { connectTimeoutMs } = this.#options
    const checkServerIdentity = (_host: string, certificate: PeerCertificate): Error | undefined => this.#checkIdentity(certificate)
    const socket = tlsConnect({
      socket: raw,
      secureContext: this.#context,
      ALPNProtocols: ['h2'],
      checkServerIdentity,
      // Said although it is the default: the default can be switched off by an environment variable.
      rejectUnauthorized: true,
    })
    return this.#bounded(pending, socket, 'secureConnect', `no TLS handshake within ${connectTimeoutMs} ms`, () => {
      if (!socket.authorized)
        throw new OffloadError('PERMISSION_DENIED', `the peer's certificate is not verified: ${String(socket.authorizationError)}`)
      // With TLS 1.3 the peer judges our certificate after the handshake is over for us, and Node as a server then closes the
      // connection without saying why.
      this.#unconfirmed = socket
      socket.once('close', () => {
        if (this.#unconfirmed !== socket) return
        const own = ownProblem(this.#material)
        this.#options.onFailure(
          new Error(`the peer closed the connection right after the TLS handshake${own === undefined ? '' : `: ${own}`}`),
        )
      })
      return { socket, secure: true }
    })
  }

  #checkIdentity(certificate: PeerCertificate): Error | undefined {
    const { expected } = this.#options
    const actual = identityFromSan(certificate.subjectaltname)
    if (actual?.role === expected.role && actual.node === expected.node) return undefined
    const found = actual === undefined ? `no identity of ours (${certificate.subjectaltname ?? 'no SAN'})` : identityUri(actual)
    return new OffloadError('PERMISSION_DENIED', `the peer's certificate names ${found}, expected ${identityUri(expected)}`)
  }

  #bounded<S extends Socket, T>(
    pending: Set<Socket>,
    socket: S,
    event: 'connect' | 'secureConnect',
    late: string,
    done: (socket: S) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        settled()
        socket.destroy()
        reject(error)
      }
      const closed = (): void => failed(new Error('the peer closed the connection while it was being made'))
      const timer = setTimeout(() => failed(new Error(late)), this.#options.connectTimeoutMs)
      const settled = (): void => {
        clearTimeout(timer)
        pending.delete(socket)
        socket.off('error', failed).off('close', closed)
        // An error that comes after the outcome is decided has nobody to go to and must not end the process.
        socket.on('error', () => {})
      }
      pending.add(socket)
      socket.once('error', failed).once('close', closed)
      socket.once(event, () => {
        settled()
        try {
          resolve(done(socket))
        } catch (error) {
          socket.destroy()
          reject(error as Error)
        }
      })
    })
  }
}
