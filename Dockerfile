# Builds the program into an image of its own.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/evenkeel ./cmd/evenkeel \
 && mkdir -p /out/var/lib/evenkeel /out/etc/ssl/certs && mkdir -m 1777 /out/tmp \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

# One static program and nothing else. It runs as nobody; with a unix:// endpoint it needs the group that
# owns the engine's socket: docker run --group-add "$(stat -c %g /var/run/docker.sock)" …
FROM scratch
COPY --from=build --chown=65534:65534 /out/ /
USER 65534:65534
ENV HOME=/var/lib/evenkeel EVENKEEL_STATE=/var/lib/evenkeel EVENKEEL_REPO=/repo EVENKEEL_LISTEN=:8642
# /healthz, /readyz, /metrics and /api/v1/ ask nobody who they are: publish it to those only who may see the fleet.
EXPOSE 8642
VOLUME /var/lib/evenkeel
ENTRYPOINT ["/evenkeel"]
CMD ["run"]
